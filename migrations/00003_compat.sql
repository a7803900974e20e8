-- +goose Up

-- Views with the names, columns and types of the tables that the engine's own
-- writer fills, so that its REST API can read ours: search_path =
-- dingir_compat, public. The tables asset and market stay the engine's, in
-- public; so do TimescaleDB's first, last and time_bucket.
--
-- The API reads by column name and exact type: timestamp (UTC) and not
-- timestamptz, varchar and not text, int4 for users. It knows no NULL: what it
-- reads is zero here where a message did not say; the tables in dingir tell
-- the difference.
CREATE SCHEMA dingir_compat;

-- The labels are all of the engine's, in its order, though only closed orders
-- are history.
CREATE TYPE dingir_compat.order_status AS ENUM ('active', 'filled', 'cancelled', 'expired');

-- A user's id as the engine writes its 32 unsigned bits into a signed column:
-- from 2^31 on it is negative. Never an error: it is part of indexes, and an
-- error there would refuse the record.
CREATE FUNCTION dingir_compat.user_id(id bigint) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT ((id << 32) >> 32)::int';

CREATE VIEW dingir_compat.market_trade AS
SELECT time AT TIME ZONE 'UTC' AS time,
       market::varchar,
       trade_id,
       price,
       amount,
       quote_amount,
       taker_side::varchar
  FROM dingir.trades;
COMMENT ON VIEW dingir_compat.market_trade IS 'dingir.trades as the engine''s REST API reads them.';

-- The view's time is another type, hence other indexes than (market, time): one
-- for a market's newest trades, candles and ticker, one for the newest trade of
-- all before a time. They cost 1.3 and 0.5 us a trade.
CREATE INDEX trades_compat_market ON dingir.trades (market, (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX trades_compat_time ON dingir.trades ((time AT TIME ZONE 'UTC'));

-- side: 0 ask, 1 bid; role: 1 maker, 2 taker.
CREATE VIEW dingir_compat.user_trade AS
SELECT NULL::int AS id,
       time AT TIME ZONE 'UTC' AS time,
       dingir_compat.user_id(coalesce(ask_user_id, 0)) AS user_id,
       market::varchar,
       trade_id,
       ask_order_id AS order_id,
       bid_order_id AS counter_order_id,
       0::smallint AS side,
       CASE taker_side WHEN 'ask' THEN 2 ELSE 1 END::smallint AS role,
       price,
       amount,
       quote_amount,
       coalesce(ask_fee, 0) AS fee,
       coalesce(bid_fee, 0) AS counter_order_fee
  FROM dingir.trades
UNION ALL
SELECT NULL::int,
       time AT TIME ZONE 'UTC',
       dingir_compat.user_id(coalesce(bid_user_id, 0)),
       market::varchar,
       trade_id,
       bid_order_id,
       ask_order_id,
       1::smallint,
       CASE taker_side WHEN 'bid' THEN 2 ELSE 1 END::smallint,
       price,
       amount,
       quote_amount,
       coalesce(bid_fee, 0),
       coalesce(ask_fee, 0)
  FROM dingir.trades;
COMMENT ON VIEW dingir_compat.user_trade IS 'Two rows a trade, one for each side. id is NULL: it counts the insertions of another writer.';
COMMENT ON COLUMN dingir_compat.user_trade.user_id IS '0 where the message named no users.';

-- An engine that restarts may close an order once more: its newest word counts.
-- It can also use the id again for another user's order; that is another order,
-- and like its trades both stay. DISTINCT ON, because a condition on user_id
-- and an order by id reach the index through it.
CREATE VIEW dingir_compat.order_history AS
SELECT DISTINCT ON (dingir_compat.user_id(e.user_id), e.order_id)
       e.order_id AS id,
       coalesce(e.create_time, e.time) AT TIME ZONE 'UTC' AS create_time,
       coalesce(e.update_time, e.time) AT TIME ZONE 'UTC' AS finish_time,
       dingir_compat.user_id(e.user_id) AS user_id,
       e.market::varchar,
       e.type::varchar AS order_type,
       e.side::varchar AS order_side,
       e.price,
       e.amount,
       coalesce(e.taker_fee, 0) AS taker_fee,
       coalesce(e.maker_fee, 0) AS maker_fee,
       coalesce(e.finished_base, 0) AS finished_base,
       coalesce(e.finished_quote, 0) AS finished_quote,
       coalesce(e.finished_fee, 0) AS finished_fee,
       CASE WHEN e.event = 'EXPIRED' THEN 'expired'
            WHEN e.remain = 0 THEN 'filled'
            ELSE 'cancelled' END::dingir_compat.order_status AS status,
       coalesce(e.post_only, false) AS post_only,
       coalesce(e.signature, decode(repeat('00', 64), 'hex')) AS signature
  FROM dingir.order_events e
 WHERE e.event IN ('FINISH', 'EXPIRED')
 ORDER BY dingir_compat.user_id(e.user_id), e.order_id DESC, e.time DESC;
COMMENT ON VIEW dingir_compat.order_history IS 'Closed orders, one row for each user and order id.';
COMMENT ON COLUMN dingir_compat.order_history.finish_time IS 'The order''s last change, as the engine''s own writer has it: a cancel does not count as one. When it happened is the time in dingir.order_events.';

-- Written with the last event of an order only: 0.5 us an event on average.
CREATE INDEX order_events_compat_closed ON dingir.order_events (dingir_compat.user_id(user_id), order_id DESC, time DESC)
 WHERE event IN ('FINISH', 'EXPIRED');

CREATE VIEW dingir_compat.internal_tx AS
SELECT time AT TIME ZONE 'UTC' AS time,
       dingir_compat.user_id(user_from) AS user_from,
       dingir_compat.user_id(user_to) AS user_to,
       asset::varchar,
       amount,
       convert_to(coalesce(signature, ''), 'UTF8') AS signature
  FROM dingir.internal_transfers;
COMMENT ON VIEW dingir_compat.internal_tx IS 'dingir.internal_transfers as the engine''s REST API reads them.';

-- Who registers again under a known id is another user after the engine
-- restarted; the newest is the engine's.
CREATE VIEW dingir_compat.account AS
SELECT dingir_compat.user_id(u.user_id) AS id,
       (u.l1_address COLLATE "C")::varchar AS l1_address,
       (u.l2_pubkey COLLATE "C")::varchar AS l2_pubkey
  FROM dingir.users u
 WHERE NOT EXISTS (
       SELECT FROM dingir.users later
        WHERE later.user_id = u.user_id
          AND (later.registered_at, later.src_offset, later.content_hash) > (u.registered_at, u.src_offset, u.content_hash));
COMMENT ON VIEW dingir_compat.account IS 'The newest registration of each user.';

-- The API looks for users by any of the three. Registrations are rare, so these
-- cost nothing that shows.
CREATE INDEX users_compat_id ON dingir.users (dingir_compat.user_id(user_id));
CREATE INDEX users_compat_l1_address ON dingir.users (l1_address COLLATE "C");
CREATE INDEX users_compat_l2_pubkey ON dingir.users (l2_pubkey COLLATE "C");

-- The engine writes 64 unsigned bits of business_id into a signed column; from
-- 2^63 on it is negative there. No route reads this view, so what messages did
-- not say stays NULL.
CREATE VIEW dingir_compat.balance_history AS
SELECT NULL::int AS id,
       time AT TIME ZONE 'UTC' AS time,
       dingir_compat.user_id(user_id) AS user_id,
       (business_id - CASE WHEN business_id >= 9223372036854775808 THEN 18446744073709551616 ELSE 0 END)::bigint AS business_id,
       asset::varchar,
       business::varchar,
       market_price,
       change,
       balance,
       balance_available,
       balance_frozen,
       detail,
       convert_to(coalesce(signature, ''), 'UTF8') AS signature
  FROM dingir.balance_changes;
COMMENT ON VIEW dingir_compat.balance_history IS 'dingir.balance_changes with the engine''s columns. id is NULL: it counts the insertions of another writer.';

-- +goose Down
SELECT 'forward only: the views go with the tables that they show';
