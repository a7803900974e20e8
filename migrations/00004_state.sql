-- +goose Up

-- The state of the exchange as the archive of unifyevents tells it: event_log
-- and gaps of the incarnation in the ledger. It moves in the transaction that
-- extends the archive, so in every snapshot of the database it is that of
-- exactly the records below state.next_offset.

-- Rows are updated over and over. Columns that change are in no index and pages
-- keep room, so an update stays in its page (HOT) and leaves the index alone.
CREATE TABLE dingir.balances (
    user_id   bigint NOT NULL,
    known     bool NOT NULL,
    asset     text COLLATE "C" NOT NULL,
    available numeric NOT NULL,
    frozen    numeric NOT NULL,
    PRIMARY KEY (user_id, asset)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_analyze_threshold = 10000);
COMMENT ON TABLE dingir.balances IS 'What each user has now, of each asset that the user ever had, reconstructed from unifyevents up to state.next_offset.';
COMMENT ON COLUMN dingir.balances.known IS 'False while the log has not told where the amount began: available and frozen are then what the log added to it.';
COMMENT ON COLUMN dingir.balances.frozen IS 'Held for open orders.';

CREATE TABLE dingir.open_orders (
    order_id       bigint PRIMARY KEY,
    user_id        bigint NOT NULL,
    create_time    timestamptz,
    update_time    timestamptz,
    post_only      bool,
    market         text NOT NULL,
    base           text,
    quote          text,
    side           text NOT NULL,
    type           text NOT NULL,
    price          numeric NOT NULL,
    amount         numeric NOT NULL,
    remain         numeric NOT NULL,
    frozen         numeric NOT NULL,
    finished_base  numeric,
    finished_quote numeric,
    finished_fee   numeric,
    maker_fee      numeric,
    taker_fee      numeric,
    signature      bytea
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_analyze_threshold = 10000);
CREATE INDEX open_orders_user ON dingir.open_orders (user_id);
COMMENT ON TABLE dingir.open_orders IS 'The orders that are open now, reconstructed from unifyevents up to state.next_offset.';
COMMENT ON COLUMN dingir.open_orders.remain IS 'Of amount, not traded yet.';
COMMENT ON COLUMN dingir.open_orders.frozen IS 'Held for the order, in base for an ask, in quote for a bid.';
COMMENT ON COLUMN dingir.open_orders.update_time IS 'Of its last trade, or create_time.';

CREATE VIEW dingir.order_book AS
SELECT market, side, price, sum(remain) AS amount, count(*) AS orders
  FROM dingir.open_orders
 WHERE type = 'limit'
 GROUP BY market, side, price;
COMMENT ON VIEW dingir.order_book IS 'Open limit orders by market, side and price.';

-- The engine tells a balance twice: by what happened, and on balances. Times
-- there are whole seconds, so any of the newest second's rows may be the last.
CREATE VIEW dingir.balance_audit AS
SELECT b.user_id, b.asset, b.available + b.frozen AS balance, n.balance AS told, n.time AS told_at,
       EXISTS (SELECT FROM dingir.balance_changes c
                WHERE c.user_id = b.user_id AND c.asset = b.asset AND c.time = n.time
                  AND c.balance = b.available + b.frozen) AS agrees
  FROM dingir.balances b
 CROSS JOIN LATERAL (SELECT c.balance, c.time FROM dingir.balance_changes c
                      WHERE c.user_id = b.user_id AND c.asset = b.asset ORDER BY c.time DESC LIMIT 1) n
 WHERE b.known;
COMMENT ON VIEW dingir.balance_audit IS 'Each balance beside the newest row of balance_changes. What is still on its way shows as not agreeing.';
COMMENT ON COLUMN dingir.balance_audit.agrees IS 'Whether a row of the newest second says the same.';

CREATE TABLE dingir.state (
    one           bool PRIMARY KEY DEFAULT true CHECK (one),
    complete      bool NOT NULL,
    provisional   bool NOT NULL,
    topic_id      smallint NOT NULL,
    base_offset   bigint NOT NULL,
    next_offset   bigint NOT NULL,
    last_order_id bigint NOT NULL,
    last_trade_id bigint NOT NULL,
    mismatches    bigint NOT NULL,
    latest_time   timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE dingir.state IS 'One row: what balances and open_orders cover.';
COMMENT ON COLUMN dingir.state.topic_id IS 'The incarnation of unifyevents that the offsets belong to.';
COMMENT ON COLUMN dingir.state.base_offset IS 'Where the log begins.';
COMMENT ON COLUMN dingir.state.next_offset IS 'The first offset that is not in it.';
COMMENT ON COLUMN dingir.state.complete IS 'Whether the log begins with the exchange and nothing of it is missing.';
COMMENT ON COLUMN dingir.state.provisional IS 'Whether the last operation may not be at its end yet.';
COMMENT ON COLUMN dingir.state.mismatches IS 'Cross-checks that failed: where the log contradicts itself.';
COMMENT ON COLUMN dingir.state.latest_time IS 'The latest timestamp of a record in it.';

-- The state at some offsets, so that any moment is a short piece of the log away.
CREATE TABLE dingir.state_snapshots (
    next_offset bigint NOT NULL,
    latest_time timestamptz,
    topic_id    smallint NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (topic_id, next_offset)
);
-- Compressed already.
ALTER TABLE dingir.state_snapshots ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE dingir.state_snapshots IS 'The state after the records below next_offset: a rebuild needs only the log from there on.';
COMMENT ON COLUMN dingir.state_snapshots.latest_time IS 'The latest timestamp of a record below next_offset.';

-- A topic, a position and this count name one history: only an operator's move
-- gives offsets below the position to other records.
ALTER TABLE dingir.ledger ADD COLUMN moves bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN dingir.ledger.moves IS 'How often an operator moved it.';

-- As in 00002, but that gaps which are taken back take with them the snapshots
-- of the state that know of them.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION dingir.advance(
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
        DELETE FROM dingir.state_snapshots WHERE topic_id = of_topic_id AND next_offset > reread;
    END IF;
END $$;
-- +goose StatementEnd

-- Writes the state's row behind advance, by whoever restored the state since
-- the operator's last move.
-- +goose StatementBegin
CREATE FUNCTION dingir.put_state(
    of_topic text, of_topic_id smallint, of_moves bigint,
    base bigint, next bigint, is_complete bool, is_provisional bool,
    order_id bigint, trade_id bigint, failed bigint, latest timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM dingir.ledger
      WHERE topic = of_topic AND partition = 0 AND topic_id = of_topic_id AND moves = of_moves;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the ledger of topic % was moved by an operator', of_topic USING ERRCODE = 'PX001';
    END IF;
    UPDATE dingir.state
       SET topic_id = of_topic_id, base_offset = base, next_offset = next, complete = is_complete,
           provisional = is_provisional, last_order_id = order_id, last_trade_id = trade_id,
           mismatches = failed, latest_time = latest;
    IF NOT FOUND THEN
        INSERT INTO dingir.state (topic_id, base_offset, next_offset, complete, provisional,
                                  last_order_id, last_trade_id, mismatches, latest_time)
        VALUES (of_topic_id, base, next, is_complete, is_provisional, order_id, trade_id, failed, latest);
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 'forward only: the daemon keeps the state';
