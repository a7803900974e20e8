package config

import (
	"fmt"
	"io"
	"strings"
)

// WriteHelp lists the settings of the needed concerns: flag, variable, default
// and meaning of each. Secrets have their _FILE variant named in the same line.
func WriteHelp(w io.Writer, need Need) {
	c := Default()
	for _, g := range c.groups() {
		if !g.neededBy(need) {
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", g.title)
		for _, s := range g.settings {
			fmt.Fprintf(w, "  --%s, %s%s\n", s.name, Variable(s.name), s.defaultText())
			if s.secret != nil {
				fmt.Fprintf(w, "    or --%s-file, %s, a file that holds it\n", s.name, Variable(s.name+"-file"))
			}
			for _, line := range wrap(s.usage, 74) {
				fmt.Fprintf(w, "      %s\n", line)
			}
		}
	}
}

// defaultText shows the default, also a secret's: ours hold no password.
func (s setting) defaultText() string {
	text := s.value.String()
	if s.secret != nil {
		text = s.secret.Reveal()
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (default %s)", text)
}

// wrap breaks a text into lines of at most width letters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
