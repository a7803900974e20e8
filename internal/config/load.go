package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// UsageError says that flags or variables are wrong: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Load reads args and env (as os.Environ gives it) for a command that needs the
// given concerns and has its own flags in fs already. It returns the settings
// and the arguments that are no flags, which may stand before and between flags.
//
// Every command accepts the flags of all settings, so that one line of flags
// does for several commands, but reads variables and files and checks values only
// of what it needs. Errors are *UsageError, or flag.ErrHelp for --help.
func Load(fs *flag.FlagSet, need Need, args, env []string) (Config, []string, error) {
	c := Default()
	l := loader{groups: c.groups(), need: need, files: map[string]*string{}}
	l.register(fs)
	rest, err := parse(fs, args)
	if err != nil {
		return Config{}, nil, err
	}
	l.flags = given(fs)
	if err := l.readVariables(env); err != nil {
		return Config{}, nil, err
	}
	if err := l.readFiles(); err != nil {
		return Config{}, nil, err
	}
	if !l.has("database-url") && !l.has("database-url-file") && libpqSet(env) {
		c.Database.URL = ""
	}
	for _, g := range l.groups {
		if !g.neededBy(need) {
			continue
		}
		if err := g.validate(); err != nil {
			return Config{}, nil, &UsageError{err}
		}
	}
	return c, rest, nil
}

// loader holds what one Load knows about where each setting came from.
type loader struct {
	groups    []group
	need      Need
	files     map[string]*string // by the flag's name, such as database-url-file
	flags     map[string]bool    // set by a flag
	variables map[string]bool    // set by a variable
}

func (l *loader) has(name string) bool { return l.flags[name] || l.variables[name] }

// each calls do with every setting there is, secrets' files included.
func (l *loader) each(do func(name string, v flag.Value, usage string, needed bool)) {
	for _, g := range l.groups {
		for _, s := range g.settings {
			do(s.name, s.value, s.usage, g.neededBy(l.need))
			if s.secret == nil {
				continue
			}
			file := s.name + "-file"
			if l.files[file] == nil {
				l.files[file] = new(string)
			}
			do(file, stringValue(l.files[file]), "a file that holds --"+s.name, g.neededBy(l.need))
		}
	}
}

func (l *loader) register(fs *flag.FlagSet) {
	fs.Init(fs.Name(), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	l.each(func(name string, v flag.Value, usage string, _ bool) { fs.Var(v, name, usage) })
}

// parse is fs.Parse that goes on after an argument that is no flag; after "--"
// everything is an argument.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var literal []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, literal = args[:i], args[i+1:]
	}
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usagef("%s; %s", twoDashes(err.Error()), flagAdvice(fs, err.Error()))
		}
		if args = fs.Args(); len(args) == 0 {
			return append(rest, literal...), nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// The flag package's errors have no type.
const flagUnknown = "flag provided but not defined: -"

// flagAdvice says what to do about an error of the flag package: where a flag is
// unknown, those that begin as it does, or else the one most like it.
func flagAdvice(fs *flag.FlagSet, text string) string {
	const most = 3 // more were a list, not an advice
	if name, is := strings.CutPrefix(text, flagUnknown); is {
		var known, longer []string
		fs.VisitAll(func(f *flag.Flag) {
			known = append(known, f.Name)
			if strings.HasPrefix(f.Name, name) {
				longer = append(longer, "--"+f.Name)
			}
		})
		if n := len(longer); n > 0 && n <= most {
			return "did you mean " + strings.Join(longer, " or ") + "?"
		}
		if best := closest(name, known, len(name)/2); best != "" {
			return "did you mean --" + best + "?"
		}
	}
	return "`persistor COMMAND --help` lists its flags"
}

// twoDashes spells flags as our documentation does, not with one dash.
func twoDashes(text string) string {
	text = strings.Replace(text, flagUnknown, "unknown flag --", 1)
	text = strings.Replace(text, "flag needs an argument: -", "flag needs a value: --", 1)
	return strings.Replace(text, " for flag -", " for flag --", 1)
}

func given(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// readVariables sets what no flag has set, and refuses names it does not know.
func (l *loader) readVariables(env []string) error {
	vars := map[string]string{}
	for _, kv := range env {
		if name, text, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, variablePrefix) {
			vars[name] = text
		}
	}
	l.variables = map[string]bool{}
	var names []string
	var failed error
	l.each(func(name string, v flag.Value, _ string, needed bool) {
		variable := Variable(name)
		names = append(names, variable)
		text := vars[variable]
		delete(vars, variable)
		if !needed || text == "" || l.flags[name] || failed != nil {
			return
		}
		if err := v.Set(text); err != nil {
			failed = usagef("invalid value %q for %s: %w", text, variable, err)
		}
		l.variables[name] = true
	})
	if err := unknown(vars, names); err != nil {
		return err
	}
	return failed
}

// unknown returns an error that names the variables left over.
func unknown(vars map[string]string, known []string) error {
	var odd []string
	for name := range vars {
		if !injectedByKubernetes(name) {
			odd = append(odd, name)
		}
	}
	switch slices.Sort(odd); len(odd) {
	case 0:
		return nil
	case 1:
		return usagef("unknown variable %s: %s", odd[0], advice(odd[0], known))
	}
	return usagef("unknown variables %s: correct or remove them (`persistor help settings` lists the known ones)", strings.Join(odd, ", "))
}

// injectedByKubernetes knows the forms that a pod finds in its environment for
// a Service called persistor: PERSISTOR_SERVICE_HOST, PERSISTOR_SERVICE_PORT,
// PERSISTOR_SERVICE_PORT_HTTP, PERSISTOR_PORT, PERSISTOR_PORT_9464_TCP_ADDR, ….
func injectedByKubernetes(name string) bool {
	return name == "PERSISTOR_PORT" ||
		strings.HasPrefix(name, "PERSISTOR_PORT_") ||
		strings.HasPrefix(name, "PERSISTOR_SERVICE_")
}

// advice says what to do about an unknown variable.
func advice(name string, known []string) string {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.HasSuffix(name, "_SERVICE_PORT") {
		return "Kubernetes sets it for a Service of such a name; set enableServiceLinks: false in the pod"
	}
	if best := closest(name, known, 3); best != "" {
		return "did you mean " + best + "?"
	}
	return "correct or remove it (`persistor help settings` lists the known ones)"
}

// closest is the known name most like the given one; farther than three letters,
// or than within, is another word: "".
func closest(name string, known []string, within int) (best string) {
	distance := min(3, within) + 1
	for _, k := range known {
		if d := editDistance(name, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// readFiles fills secrets from their files. Where the text and the file come
// both from flags or both from variables, nothing says which is meant; a flag
// wins over a variable here too.
func (l *loader) readFiles() error {
	for _, g := range l.groups {
		if !g.neededBy(l.need) {
			continue
		}
		for _, s := range g.settings {
			if s.secret == nil {
				continue
			}
			file := s.name + "-file"
			switch {
			case l.flags[s.name] && l.flags[file]:
				return usagef("--%s and --%s are both set: remove one", s.name, file)
			case l.variables[s.name] && l.variables[file] && !l.flags[s.name] && !l.flags[file]:
				return usagef("%s and %s are both set: remove one", Variable(s.name), Variable(file))
			case !l.has(file) || *l.files[file] == "" || l.flags[s.name]:
				continue
			}
			text, err := os.ReadFile(*l.files[file])
			if err != nil {
				return usagef("%s: %w", label(file), err)
			}
			if *s.secret = Secret(strings.TrimRight(string(text), "\r\n")); *s.secret == "" {
				return usagef("%s: %s is empty", label(file), *l.files[file])
			}
		}
	}
	return nil
}
