-- +goose Up

-- The engine's own state as it saved it, where the log does not begin with the
-- exchange (persistor state import). It is kept as it was, since snapshots are of
-- no use to a program with other rules.
CREATE TABLE dingir.engine_slices (
    next_offset bigint NOT NULL,
    latest_time timestamptz NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    topic_id    smallint NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (topic_id, next_offset)
);
-- Compressed already.
ALTER TABLE dingir.engine_slices ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE dingir.engine_slices IS 'The engine''s own state, taken over: what the log below next_offset does not tell.';
COMMENT ON COLUMN dingir.engine_slices.latest_time IS 'The latest timestamp of a record below next_offset.';

-- +goose Down
SELECT 'forward only';
