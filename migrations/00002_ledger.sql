-- +goose Up

-- The schema of positions: ledger, gaps, rejects, duplicates.
-- The ledger decides where each partition stands; it moves only in the
-- transaction that wrote the rows.
CREATE TABLE dingir.ledger (
    topic        text NOT NULL,
    partition    int NOT NULL,
    topic_id     smallint NOT NULL REFERENCES dingir.topics (id),
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL CHECK (next_offset >= first_offset),
    high_offset  bigint NOT NULL,
    last_offset  bigint,
    last_hash    bigint,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE dingir.ledger IS 'Positions from first_offset up to next_offset are accounted for: each is a row, an unresolved reject, a duplicate, or inside a gap.';
COMMENT ON COLUMN dingir.ledger.topic_id IS 'The incarnation of the topic that the offsets belong to.';
COMMENT ON COLUMN dingir.ledger.high_offset IS 'The furthest that next_offset ever was: below it records are read again.';
COMMENT ON COLUMN dingir.ledger.last_hash IS 'xxHash64 of the value of the record at last_offset, the last one stored: it must still be there.';

CREATE TABLE dingir.gaps (
    topic        text NOT NULL,
    partition    int NOT NULL,
    first_offset bigint NOT NULL,
    last_offset  bigint NOT NULL CHECK (last_offset >= first_offset),
    reason       text NOT NULL CHECK (reason IN ('control', 'skipped', 'expired', 'lost')),
    topic_id     smallint NOT NULL,
    noted_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, first_offset)
);
COMMENT ON TABLE dingir.gaps IS 'Ranges of offsets, both ends included, that hold no record of ours.';

CREATE TABLE dingir.rejects (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        text NOT NULL,
    partition    int NOT NULL,
    "offset"     bigint NOT NULL,
    record_time  timestamptz NOT NULL,
    key          bytea,
    value        bytea,
    headers      jsonb NOT NULL,
    reason       text NOT NULL CHECK (reason <> ''),
    sqlstate     text,
    published_at timestamptz,
    resolved_at  timestamptz,
    topic_id     smallint NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic_id, partition, "offset")
);
CREATE INDEX rejects_unpublished ON dingir.rejects (id) WHERE published_at IS NULL;
CREATE INDEX rejects_unresolved ON dingir.rejects (id) WHERE resolved_at IS NULL;
-- Foreign records are many and stay unresolved; what waits for somebody is counted often.
CREATE INDEX rejects_pending ON dingir.rejects (id) WHERE resolved_at IS NULL AND reason <> 'foreign';
COMMENT ON TABLE dingir.rejects IS 'Records that could not be stored, byte for byte, and why; also the outbox of the dead-letter topics.';

CREATE TABLE dingir.duplicates (
    topic      text NOT NULL,
    partition  int NOT NULL,
    "offset"   bigint NOT NULL,
    table_name text NOT NULL,
    topic_id   smallint NOT NULL,
    noted_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, "offset")
);
COMMENT ON TABLE dingir.duplicates IS 'Records whose row was there already, under another position.';

-- A position that is read again, after the ledger was moved back, is noted
-- once. Only the holder of the ledger's row writes here, so looking first is
-- free of races; a trigger rather than ON CONFLICT, since COPY knows none.
-- +goose StatementBegin
CREATE FUNCTION dingir.note_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known bool;
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'rejects' THEN
        known := EXISTS (SELECT FROM dingir.rejects r
            WHERE (r.topic_id, r.partition, r."offset") = (NEW.topic_id, NEW.partition, NEW."offset"));
    WHEN 'duplicates' THEN
        known := EXISTS (SELECT FROM dingir.duplicates d
            WHERE (d.topic_id, d.partition, d."offset") = (NEW.topic_id, NEW.partition, NEW."offset"));
    WHEN 'gaps' THEN
        known := EXISTS (SELECT FROM dingir.gaps g
            WHERE g.topic_id = NEW.topic_id AND g.partition = NEW.partition
              AND g.first_offset <= NEW.first_offset AND g.last_offset >= NEW.last_offset);
    END CASE;
    IF known THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER note_once BEFORE INSERT ON dingir.rejects FOR EACH ROW EXECUTE FUNCTION dingir.note_once();
CREATE TRIGGER note_once BEFORE INSERT ON dingir.duplicates FOR EACH ROW EXECUTE FUNCTION dingir.note_once();
CREATE TRIGGER note_once BEFORE INSERT ON dingir.gaps FOR EACH ROW EXECUTE FUNCTION dingir.note_once();

-- Moves one partition from expected to its new position, as the first thing in
-- a batch's transaction: whoever is not where the ledger says fails here, with
-- an SQLSTATE of its own, before it has done any work. Below high_offset the
-- records are read again: what was noted about them then and is not so now is
-- taken back.
-- +goose StatementBegin
CREATE FUNCTION dingir.advance(
    of_topic text, of_partition int, of_topic_id smallint,
    expected bigint, next bigint, last bigint, hash bigint, rejected bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    seen   bigint;
    reread bigint;
BEGIN
    SELECT high_offset INTO seen FROM dingir.ledger
     WHERE topic = of_topic AND partition = of_partition AND topic_id = of_topic_id AND next_offset = expected
       FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % of topic % does not stand at offset %', of_partition, of_topic, expected
              USING ERRCODE = 'PX001';
    END IF;
    UPDATE dingir.ledger
       SET next_offset = next, high_offset = greatest(seen, next),
           last_offset = coalesce(last, last_offset), last_hash = coalesce(hash, last_hash)
     WHERE topic = of_topic AND partition = of_partition;
    IF seen > expected THEN
        UPDATE dingir.rejects SET resolved_at = now()
         WHERE topic_id = of_topic_id AND partition = of_partition
           AND "offset" >= expected AND "offset" < next
           AND resolved_at IS NULL AND NOT ("offset" = ANY (rejected));
        -- Those that are duplicates still are noted again in this transaction.
        DELETE FROM dingir.duplicates
         WHERE topic_id = of_topic_id AND partition = of_partition
           AND "offset" >= expected AND "offset" < next;
        -- Everything from here on is read again, and its gaps noted again; but what
        -- lies before the event log's end is not archived again, so its gaps stay.
        reread := greatest(expected, (SELECT last_offset + 1 FROM dingir.event_log
                                       WHERE topic_id = of_topic_id ORDER BY first_offset DESC LIMIT 1));
        DELETE FROM dingir.gaps
         WHERE topic_id = of_topic_id AND partition = of_partition AND first_offset >= reread;
        UPDATE dingir.gaps SET last_offset = reread - 1
         WHERE topic_id = of_topic_id AND partition = of_partition AND last_offset >= reread;
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 'the ledger is never taken back';
