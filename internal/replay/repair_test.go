package replay_test

import (
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// A clean installation has no difference.
func TestNothingDiffers(t *testing.T) {
	s := newScene(t, 4000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.02 })
	before := s.content()
	report := s.replay(0, "--dry-run")
	if report.Differences != 0 {
		t.Errorf("%+v", report)
	}
	for _, table := range report.Tables {
		t.Logf("%+v", table)
	}
	s.same(before, s.content())
	s.verify()
}
