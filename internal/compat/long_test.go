package compat_test

import (
	"strings"
	"testing"
)

// What a user registers is not checked: an index is no reason to refuse it.
func TestLongAddresses(t *testing.T) {
	conn := connect(t)
	long := strings.Repeat("0123456789abcdef", 40_000)
	run(t, conn, `INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset)
		VALUES (now(), 1, '`+long+`', '`+long+`', 1, 1, 0, 0)`)
	var id int
	if err := conn.QueryRow(t.Context(), "SELECT id FROM dingir_compat.account WHERE l1_address = $1", long).Scan(&id); err != nil || id != 1 {
		t.Errorf("user %d, %v", id, err)
	}
}
