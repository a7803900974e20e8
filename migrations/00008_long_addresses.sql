-- +goose Up

-- A B-tree holds no text of more than some 2,700 bytes, and the engine does not
-- look at what a user registers: a longer address must not be a reject for the
-- sake of an index. A hash index takes any length, and the API asks for equality.
DROP INDEX dingir.users_compat_l1_address, dingir.users_compat_l2_pubkey;
CREATE INDEX users_compat_l1_address ON dingir.users USING hash (l1_address COLLATE "C");
CREATE INDEX users_compat_l2_pubkey ON dingir.users USING hash (l2_pubkey COLLATE "C");

-- +goose Down
SELECT 'forward only';
