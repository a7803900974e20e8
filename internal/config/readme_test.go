package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// documented is one row's word on a setting.
type documented struct {
	value  string // as the variable would be set
	secret bool   // marked F: can come from a file
}

// readme reads the table of settings. Variables that the last column names, by
// the end of the name, are unset by default.
func readme(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(PERSISTOR)?(_[A-Z_]+)`( F)?")
	all := map[string]documented{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `PERSISTOR_") {
			continue
		}
		value := strings.Trim(strings.TrimSpace(cells[2]), "`")
		if value == "all eight" {
			value = strings.Join(DefaultConsumer().Topics, ",")
		}
		for _, m := range named.FindAllStringSubmatch(cells[1], -1) {
			all["PERSISTOR"+m[2]] = documented{value, m[3] != ""}
		}
		for _, m := range named.FindAllStringSubmatch(cells[3], -1) {
			all["PERSISTOR"+m[2]] = documented{"", m[3] != ""}
		}
	}
	return all
}

// TestReadmeHasTheDefaults holds README's table of settings against the program.
func TestReadmeHasTheDefaults(t *testing.T) {
	if n := len(DefaultConsumer().Topics); n != 8 {
		t.Errorf("all eight topics are %d", n)
	}
	rows := readme(t)
	c := Default()
	for _, g := range c.groups() {
		for _, s := range g.settings {
			row, there := rows[Variable(s.name)]
			delete(rows, Variable(s.name))
			if !there {
				t.Errorf("%s is not in README", Variable(s.name))
				continue
			}
			if row.secret != (s.secret != nil) {
				t.Errorf("%s: README says %v to whether a file can hold it", Variable(s.name), row.secret)
			}
			// Set, the README's text must change nothing: 1m and 1m0s are the same.
			if is := s.value.String(); row.value != "" || is != "" {
				if err := s.value.Set(row.value); err != nil || !reflect.DeepEqual(c, Default()) {
					t.Errorf("%s: README says the default is %q, the program %s (%v)", Variable(s.name), row.value, is, err)
				}
				c = Default() // settings keep pointing into c
			}
		}
	}
	for name := range rows {
		t.Errorf("README has %s, the program does not", name)
	}
}
