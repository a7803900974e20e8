package config

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// setting is one flag and one variable. A setting with a secret has a second
// pair, the same names with -file and _FILE.
type setting struct {
	name   string // "kafka-brokers"
	value  flag.Value
	usage  string
	secret *Secret
}

const variablePrefix = "PERSISTOR_"

// Variable returns the name of the variable that belongs to a flag.
func Variable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// label names a setting in an error so that whoever wrote it, as flag or as
// variable, recognises it.
func label(name string) string { return fmt.Sprintf("%s (--%s)", Variable(name), name) }

// value is a flag.Value of any type, whose errors say what was wanted: the
// flag package's own say "parse error".
type value[T any] struct {
	target *T
	parse  func(string) (T, error)
	format func(T) string
}

func (v value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err == nil {
		*v.target = parsed
	}
	return err
}

// String is also called on a zero value, by the flag package.
func (v value[T]) String() string {
	if v.target == nil {
		return ""
	}
	return v.format(*v.target)
}

// IsBoolFlag lets --kafka-tls stand for --kafka-tls=true.
func (v value[T]) IsBoolFlag() bool {
	_, ok := any(v.target).(*bool)
	return ok
}

func stringValue(target *string) flag.Value {
	return value[string]{target, func(s string) (string, error) { return s, nil }, func(s string) string { return s }}
}

func secretValue(target *Secret) flag.Value {
	return value[Secret]{target, func(s string) (Secret, error) { return Secret(s), nil }, Secret.String}
}

func listValue(target *[]string) flag.Value {
	return value[[]string]{target, parseList, func(l []string) string { return strings.Join(l, ",") }}
}

func durationValue(target *time.Duration) flag.Value {
	return value[time.Duration]{target, parseDuration, time.Duration.String}
}

func countValue(target *int) flag.Value {
	return value[int]{target, parseCount, strconv.Itoa}
}

func bytesValue(target *int) flag.Value {
	return value[int]{target, parseBytes, formatBytes}
}

func boolValue(target *bool) flag.Value {
	return value[bool]{target, parseBool, strconv.FormatBool}
}

// onOffValue spells a bool as PostgreSQL does. It has its own type so that the
// flag needs its word: --synchronous-commit off.
func onOffValue(target *onOff) flag.Value {
	return value[onOff]{target, parseOnOff, onOff.String}
}

type onOff bool

func (b onOff) String() string {
	if b {
		return "on"
	}
	return "off"
}

func parseOnOff(text string) (onOff, error) {
	switch text {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, errors.New("want on or off")
}

func parseBool(text string) (bool, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("want true or false")
	}
	return b, nil
}

// parseList cuts at commas. Blanks around an element are a matter of taste in
// YAML; an empty element is a mistake.
func parseList(text string) ([]string, error) {
	list := strings.Split(text, ",")
	for i := range list {
		if list[i] = strings.TrimSpace(list[i]); list[i] == "" {
			return nil, errors.New("want a list separated by commas, without empty elements")
		}
	}
	return list, nil
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New("want a duration with its unit, such as 500ms, 6s or 2m")
	}
	return d, nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("want a whole number")
	}
	return n, nil
}

// byteUnits goes from the largest to the smallest, so that formatBytes finds
// the shortest form first.
func byteUnits() []struct {
	suffix string
	size   int
} {
	return []struct {
		suffix string
		size   int
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

func parseBytes(text string) (int, error) {
	size, number := 1, text
	for _, u := range byteUnits() {
		if cut, ok := strings.CutSuffix(text, u.suffix); ok {
			size, number = u.size, strings.TrimSpace(cut)
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n > math.MaxInt/size || n < math.MinInt/size {
		return 0, errors.New("want a number of bytes, such as 4194304, 4096KiB or 4MiB")
	}
	return n * size, nil
}

func formatBytes(n int) string {
	for _, u := range byteUnits() {
		if n >= u.size && n%u.size == 0 {
			return strconv.Itoa(n/u.size) + u.suffix
		}
	}
	return strconv.Itoa(n)
}
