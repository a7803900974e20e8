package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is a small file system that a database of a private PostgreSQL lives on.
type Disk struct {
	p   *Postgres
	dir string
}

// DatabaseOnDisk is Database on a disk of its own, of so many MiB, which the
// test may fill. It takes root on Linux; elsewhere the test is skipped, or failed
// in CI.
func (p *Postgres) DatabaseOnDisk(mib int) (string, *Disk) {
	p.t.Helper()
	if os.Geteuid() != 0 {
		lacking(p.t, "only root can mount the small disk that this test fills")
	}
	home := filepath.Join(p.dir, "postgres")
	d := &Disk{p: p, dir: filepath.Join(home, "disk")}
	owner, err := os.Stat(home)
	if err == nil {
		err = os.Mkdir(d.dir, 0o700)
	}
	// The server sees what was mounted before it started.
	p.Stop()
	if err == nil {
		uid := owner.Sys().(*syscall.Stat_t).Uid //nolint:forcetypeassert // on Linux it is
		err = syscall.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700,uid=%d", mib, uid))
	}
	if err != nil {
		p.t.Fatalf("mount a small disk: %v", err)
	}
	p.t.Cleanup(func() {
		// The server ends after this.
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			p.t.Errorf("unmount the small disk: %v", err)
		}
	})
	p.Start()
	// Inside, the server sees its home as /mnt.
	if err := execute(p.URL(), "CREATE TABLESPACE disk LOCATION '/mnt/disk'"); err != nil {
		p.t.Fatalf("make a tablespace of the small disk: %v", err)
	}
	// A database that is there cannot be moved while TimescaleDB's launcher looks at it.
	address, err := addDatabase(p.URL(), p.t.Name(), "TABLESPACE disk")
	if err != nil {
		p.t.Fatalf("create a database for the test: %v", err)
	}
	return address, d
}

// Fill takes all the room that is left.
func (d *Disk) Fill() {
	d.p.t.Helper()
	file, err := os.Create(d.ballast())
	if err != nil {
		d.p.t.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.p.t.Fatalf("fill the small disk: %v", err)
	}
}

// Free gives back what Fill took.
func (d *Disk) Free() {
	d.p.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.p.t.Fatal(err)
	}
}

func (d *Disk) ballast() string { return filepath.Join(d.dir, "ballast") }
