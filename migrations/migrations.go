// Package migrations holds the SQL that makes and upgrades the persistor's
// schema: numbered files, forward only, embedded in the binary.
package migrations

import "embed"

// FS holds the numbered files.
//
//go:embed *.sql
var FS embed.FS
