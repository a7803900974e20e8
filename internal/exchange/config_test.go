package exchange

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// shortest is a float as the engine prints one.
func shortest(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"one user":          {func(c *Config) { c.Users = 1 }, "users: 1"},
		"early":             {func(c *Config) { c.Start = time.Unix(0, 0) }, "start: 1970"},
		"no interval":       {func(c *Config) { c.Interval = 0 }, "interval"},
		"share above one":   {func(c *Config) { c.Duplicates = 1.5 }, "duplicates: 1.5"},
		"negative share":    {func(c *Config) { c.SelfTransfers = -1 }, "self transfers"},
		"negative count":    {func(c *Config) { c.Forget = -1 }, "forget: -1"},
		"loss, no crash":    {func(c *Config) { c.LoseUnify = 1 }, "no crash is"},
		"crash too often":   {func(c *Config) { c.CrashEvery, c.Forget = 10, 8 }, "at least twice"},
		"no markets":        {func(c *Config) { c.Markets = nil }, "none given"},
		"unknown asset":     {func(c *Config) { c.Markets[0].Base = "XYZ" }, "unknown"},
		"market twice":      {func(c *Config) { c.Markets[1] = c.Markets[0] }, "twice"},
		"asset twice":       {func(c *Config) { c.Assets[1] = c.Assets[0] }, "twice"},
		"too precise":       {func(c *Config) { c.Markets[0].PricePrec = 5 }, "do not fit"},
		"bad price":         {func(c *Config) { c.Markets[0].Price = "1e3" }, "not a plain decimal"},
		"zero price":        {func(c *Config) { c.Markets[0].Price = "0" }, "not between"},
		"no fees":           {func(c *Config) { c.Markets[0].TakerFees = nil }, "no maker or taker"},
		"absurd fee":        {func(c *Config) { c.Markets[0].TakerFees = []string{"0.5"} }, "between -0.1 and 0.1"},
		"finer than saved":  {func(c *Config) { c.Assets[0].ShowPrec = 9 }, "precisions"},
		"opening too large": {func(c *Config) { c.Assets[0].Opening = "10000000000000" }, "opening"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			test.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
