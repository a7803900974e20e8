-- +goose Up
-- Fixed-width columns come first in every table: 3 to 13 bytes less a row.
-- Indexed text is COLLATE "C": comparing it by bytes is 1.2 x faster than by
-- the rules of a language, and names of assets and markets belong to none.

-- One row for each incarnation of a topic: a topic that is deleted and made
-- again starts at offset 0 again, so its positions are other positions.
CREATE TABLE dingir.topics (
    id         smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    cluster_id text NOT NULL,
    topic_uuid uuid NOT NULL,
    UNIQUE (cluster_id, topic_uuid)
);
COMMENT ON TABLE dingir.topics IS 'Kafka topics that records came from, one row for each incarnation of a topic.';

CREATE TABLE dingir.trades (
    time         timestamptz NOT NULL,
    trade_id     bigint NOT NULL,
    ask_user_id  bigint,
    ask_order_id bigint NOT NULL,
    bid_user_id  bigint,
    bid_order_id bigint NOT NULL,
    content_hash bigint NOT NULL,
    src_offset   bigint NOT NULL,
    src_partition int NOT NULL,
    src_topic    smallint NOT NULL,
    market       text COLLATE "C" NOT NULL,
    price        numeric NOT NULL,
    amount       numeric NOT NULL,
    quote_amount numeric NOT NULL,
    taker_side   text NOT NULL,
    ask_fee      numeric,
    bid_fee      numeric
);
SELECT create_hypertable('dingir.trades', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX trades_identity ON dingir.trades (trade_id, time, content_hash);
CREATE INDEX trades_market ON dingir.trades (market, time DESC);
-- What the REST API's trades of one order need.
CREATE INDEX trades_ask_order ON dingir.trades (ask_order_id);
CREATE INDEX trades_bid_order ON dingir.trades (bid_order_id);
COMMENT ON TABLE dingir.trades IS 'One row a match of two orders. A trade_id can return with other content after the engine restarted: both rows are kept.';

CREATE TABLE dingir.order_events (
    time           timestamptz NOT NULL,
    order_id       bigint NOT NULL,
    user_id        bigint NOT NULL,
    create_time    timestamptz,
    update_time    timestamptz,
    content_hash   bigint NOT NULL,
    src_offset     bigint NOT NULL,
    src_partition  int NOT NULL,
    src_topic      smallint NOT NULL,
    post_only      bool,
    event          text NOT NULL,
    market         text NOT NULL,
    side           text NOT NULL,
    type           text NOT NULL,
    price          numeric NOT NULL,
    amount         numeric NOT NULL,
    remain         numeric,
    frozen         numeric,
    finished_base  numeric,
    finished_quote numeric,
    finished_fee   numeric,
    maker_fee      numeric,
    taker_fee      numeric,
    signature      bytea
);
SELECT create_hypertable('dingir.order_events', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX order_events_identity ON dingir.order_events (order_id, time, content_hash);
CREATE INDEX order_events_user ON dingir.order_events (user_id, time DESC);
COMMENT ON TABLE dingir.order_events IS 'One row an event in an order''s life. A cancel is a FINISH with remain > 0; its time is the record''s.';
COMMENT ON COLUMN dingir.order_events.time IS 'Timestamp of the Kafka record: the only clock that a cancel has.';

CREATE TABLE dingir.balance_changes (
    time              timestamptz NOT NULL,
    user_id           bigint NOT NULL,
    content_hash      bigint NOT NULL,
    src_offset        bigint NOT NULL,
    src_partition     int NOT NULL,
    src_topic         smallint NOT NULL,
    asset             text COLLATE "C" NOT NULL,
    business          text NOT NULL,
    business_id       numeric,
    market_price      numeric,
    change            numeric NOT NULL,
    balance           numeric NOT NULL,
    balance_available numeric,
    balance_frozen    numeric,
    detail            text,
    signature         text
);
SELECT create_hypertable('dingir.balance_changes', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX balance_changes_identity ON dingir.balance_changes (user_id, asset, time DESC, content_hash);
COMMENT ON TABLE dingir.balance_changes IS 'One row a change of a user''s balance in an asset. business_id repeats legitimately.';

CREATE TABLE dingir.deposits (
    time              timestamptz NOT NULL,
    user_id           bigint NOT NULL,
    content_hash      bigint NOT NULL,
    src_offset        bigint NOT NULL,
    src_partition     int NOT NULL,
    src_topic         smallint NOT NULL,
    asset             text COLLATE "C" NOT NULL,
    business          text NOT NULL,
    business_id       numeric,
    change            numeric NOT NULL,
    balance           numeric NOT NULL,
    balance_available numeric,
    balance_frozen    numeric,
    detail            text
);
SELECT create_hypertable('dingir.deposits', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX deposits_identity ON dingir.deposits (user_id, asset, time DESC, content_hash);
COMMENT ON TABLE dingir.deposits IS 'Deposits. The engine sends them on unifyevents only; the topic deposits fills the same table.';

CREATE TABLE dingir.withdrawals (
    time              timestamptz NOT NULL,
    user_id           bigint NOT NULL,
    content_hash      bigint NOT NULL,
    src_offset        bigint NOT NULL,
    src_partition     int NOT NULL,
    src_topic         smallint NOT NULL,
    asset             text COLLATE "C" NOT NULL,
    business          text NOT NULL,
    business_id       numeric,
    change            numeric NOT NULL,
    balance           numeric NOT NULL,
    balance_available numeric,
    balance_frozen    numeric,
    detail            text,
    signature         text
);
SELECT create_hypertable('dingir.withdrawals', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX withdrawals_identity ON dingir.withdrawals (user_id, asset, time DESC, content_hash);
COMMENT ON TABLE dingir.withdrawals IS 'Withdrawals; change is negative. The engine sends them on unifyevents only; the topic withdraws fills the same table.';

CREATE TABLE dingir.internal_transfers (
    time          timestamptz NOT NULL,
    user_from     bigint NOT NULL,
    user_to       bigint NOT NULL,
    content_hash  bigint NOT NULL,
    src_offset    bigint NOT NULL,
    src_partition int NOT NULL,
    src_topic     smallint NOT NULL,
    asset         text NOT NULL,
    amount        numeric NOT NULL,
    signature     text
);
SELECT create_hypertable('dingir.internal_transfers', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX internal_transfers_identity ON dingir.internal_transfers (user_from, time, content_hash);
CREATE INDEX internal_transfers_to ON dingir.internal_transfers (user_to, time DESC);
COMMENT ON TABLE dingir.internal_transfers IS 'Transfers between two users. amount may be zero: the engine sends what rounds to nothing.';

CREATE TABLE dingir.users (
    registered_at timestamptz NOT NULL,
    user_id       bigint NOT NULL,
    content_hash  bigint NOT NULL,
    src_offset    bigint NOT NULL,
    src_partition int NOT NULL,
    src_topic     smallint NOT NULL,
    l1_address    text NOT NULL,
    l2_pubkey     text NOT NULL
);
CREATE UNIQUE INDEX users_identity ON dingir.users (user_id, content_hash);
COMMENT ON TABLE dingir.users IS 'Registrations. A user_id can return with other content after the engine restarted: both rows are kept.';

-- Every record of unifyevents, in segments of one batch each.
CREATE TABLE dingir.event_log (
    first_offset bigint NOT NULL,
    last_offset  bigint NOT NULL,
    first_time   timestamptz NOT NULL,
    last_time    timestamptz NOT NULL,
    records      int NOT NULL,
    topic_id     smallint NOT NULL,
    data         bytea NOT NULL,
    PRIMARY KEY (topic_id, first_offset)
);
-- Compressed already: another attempt costs time and gains nothing.
ALTER TABLE dingir.event_log ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE dingir.event_log IS 'Every record of unifyevents, compressed, so that a rebuild does not end where Kafka''s retention does.';

-- +goose Down
SELECT 'the schema is never taken back: it holds the only copy of expired records';
