-- +goose Up

-- As in 00004, but that the tables of the state are one topic's: another
-- installation in this database, whose topics have another prefix, has to leave
-- them alone. Whoever writes the row first has them.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION dingir.put_state(
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
    UPDATE dingir.state s
       SET topic_id = of_topic_id, base_offset = base, next_offset = next, complete = is_complete,
           provisional = is_provisional, last_order_id = order_id, last_trade_id = trade_id,
           mismatches = failed, latest_time = latest
     WHERE s.topic_id = of_topic_id
        OR NOT EXISTS (SELECT FROM dingir.topics t WHERE t.id = s.topic_id AND t.name <> of_topic);
    IF NOT FOUND THEN
        INSERT INTO dingir.state (topic_id, base_offset, next_offset, complete, provisional,
                                  last_order_id, last_trade_id, mismatches, latest_time)
        VALUES (of_topic_id, base, next, is_complete, is_provisional, order_id, trade_id, failed, latest)
        ON CONFLICT DO NOTHING;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the state in this database is not that of topic %', of_topic USING ERRCODE = 'PX001';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 'forward only';
