-- +goose Up

-- Segments that are small enough to be joined with their neighbours, without a
-- look at all the others. The number is in internal/store/segment_merge.go too.
CREATE INDEX event_log_small ON dingir.event_log (topic_id, first_offset) WHERE octet_length(data) < 65536;

-- What was joined leaves its rows to the next ones soon, not when it is a fifth
-- of the table.
ALTER TABLE dingir.event_log SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 10000);

-- +goose Down
SELECT 'forward only';
