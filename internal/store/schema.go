package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/thaliumx/persistor/migrations"
)

// versionTable is where goose notes which migrations have run. It lives in our
// own schema: the engine's migrator owns the names in public.
const versionTable = "dingir.schema_version"

// MigrationState is one migration and when it was applied; zero if it was not.
type MigrationState struct {
	Version int64
	Name    string
	Applied time.Time
}

// Migrate brings the schema up to date and returns what it applied. It may run
// in several processes at once: a session lock lets one work and the others
// wait.
func Migrate(ctx context.Context, o Options) ([]MigrationState, error) {
	db, err := o.openSQL()
	if err != nil {
		return nil, err
	}
	defer closeSQL(db)
	if err := prepareSchema(ctx, db); err != nil {
		return nil, err
	}
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate the schema: %w", err)
	}
	done := make([]MigrationState, 0, len(results))
	for _, r := range results {
		done = append(done, MigrationState{Version: r.Source.Version, Name: r.Source.Path, Applied: time.Now()})
	}
	return done, nil
}

// MigrationStatus lists the migrations of this program and whether each was
// applied.
func MigrationStatus(ctx context.Context, o Options) ([]MigrationState, error) {
	db, err := o.openSQL()
	if err != nil {
		return nil, err
	}
	defer closeSQL(db)
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return nil, err
	}
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	var list []MigrationState
	if version < 0 { // nothing there yet, and looking must not create it
		for _, s := range p.ListSources() {
			list = append(list, MigrationState{Version: s.Version, Name: s.Path})
		}
		return list, nil
	}
	states, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema version: %w", err)
	}
	for _, s := range states {
		list = append(list, MigrationState{Version: s.Source.Version, Name: s.Source.Path, Applied: s.AppliedAt})
	}
	return list, nil
}

// CheckSchema fails where the schema is not the one that this program knows,
// and says what to do.
func CheckSchema(ctx context.Context, o Options) error {
	db, err := o.openSQL()
	if err != nil {
		return err
	}
	defer closeSQL(db)
	have, err := schemaVersion(ctx, db)
	if err != nil {
		return err
	}
	p, err := provider(db)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	want := sources[len(sources)-1].Version
	switch {
	case have < 0:
		return errors.New("the database has no persistor schema yet; run `persistor migrate`")
	case have < want:
		return fmt.Errorf("the schema has version %d, this program needs %d; run `persistor migrate`", have, want)
	case have > want:
		return fmt.Errorf("the schema has version %d, this program knows %d only; run the persistor that migrated it, or a newer one", have, want)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	names, err := database.NewStore(database.DialectPostgres, versionTable)
	if err != nil {
		return nil, fmt.Errorf("name the version table: %w", err)
	}
	p, err := goose.NewProvider("", db, migrations.FS,
		goose.WithStore(names), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

// prepareSchema makes what the first migration stands on.
func prepareSchema(ctx context.Context, db *sql.DB) error {
	const creating = "create schema dingir and extension timescaledb"
	// IF NOT EXISTS is no protection against another process that creates the
	// same at the same moment; a lock is. Whoever has it may need longer for the
	// extension than our sessions wait for locks.
	_, err := db.ExecContext(ctx, `
		SET LOCAL lock_timeout = '1min';
		SELECT pg_advisory_xact_lock(hashtext('persistor: prepare schema'));
		CREATE SCHEMA IF NOT EXISTS dingir;
		CREATE EXTENSION IF NOT EXISTS timescaledb`)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pg) && (pg.Code == "58P01" || pg.Code == "0A000"):
		return fmt.Errorf("%s: the server has no TimescaleDB; install it and set shared_preload_libraries = 'timescaledb': %w", creating, err)
	case errors.As(err, &pg) && pg.Code == "42501":
		return fmt.Errorf("%s: the role may not; let an administrator run these two once: CREATE SCHEMA dingir AUTHORIZATION <role>, CREATE EXTENSION timescaledb: %w", creating, err)
	}
	return fmt.Errorf("%s: %w", creating, err)
}

// schemaVersion returns the version of the schema, or -1 where there is none.
func schemaVersion(ctx context.Context, db *sql.DB) (int64, error) {
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", versionTable).Scan(&there); err != nil {
		return 0, fmt.Errorf("look for the schema: %w", err)
	}
	if !there {
		return -1, nil
	}
	var version int64
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the schema version: %w", err)
	}
	return version, nil
}

func closeSQL(db *sql.DB) { _ = db.Close() } // nothing is lost with a session

func (o Options) openSQL() (*sql.DB, error) {
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*config), nil
}
