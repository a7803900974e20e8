package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, 100 on every Linux
// that Go runs on.
const ticksPerSecond = 100

// cpuSeconds is the CPU time of a process so far, user and system.
func cpuSeconds(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold blanks.
	_, rest, _ := strings.Cut(string(stat), ") ")
	return ticks(strings.Fields(rest), 11, 12)
}

// machineSeconds is the CPU time that the machine has spent on anything.
func machineSeconds() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	return ticks(strings.Fields(line), 1, 2, 3, 6, 7) // user, nice, system, irq, softirq
}

func ticks(fields []string, which ...int) float64 {
	sum := 0.0
	for _, i := range which {
		if i < len(fields) {
			n, _ := strconv.ParseFloat(fields[i], 64)
			sum += n
		}
	}
	return sum / ticksPerSecond
}

// peakMemory is the largest resident set that a process has had, in bytes.
func peakMemory(pid int) int64 {
	kib, _ := strconv.ParseInt(strings.TrimSuffix(statusField(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:"), " kB"), 10, 64)
	return kib << 10
}

// statusField finds a line "name value" in one of /proc's lists.
func statusField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.TrimLeft(value, " \t:")
		}
	}
	return ""
}

// brokerPID finds the Kafka broker of this directory's local stack, or any on this
// machine; 0 if there is none. Tests start others, so it is to be found once a run.
func brokerPID() (pid int) {
	here, _ := os.Getwd()
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range list {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), "\x00kafka.Kafka\x00") {
			continue
		}
		local := strings.Contains(string(line), filepath.Join(here, ".devstack/kafka")+"/")
		if local || pid == 0 {
			pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
		if local {
			break
		}
	}
	return pid
}

// settle waits until the machine has little else to do, but not for ever: a run
// then goes on beside whatever it is.
func settle(ctx context.Context) {
	const patience, look, busy = 30 * time.Second, 500 * time.Millisecond, 0.1
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; {
		before := machineSeconds()
		time.Sleep(look)
		if machineSeconds()-before < busy*look.Seconds()*float64(runtime.NumCPU()) {
			return
		}
	}
}

// loadAverage is that of the last minute: what others do on this machine shows
// in it.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
