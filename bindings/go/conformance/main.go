// SPDX-License-Identifier: Apache-2.0

// The conformance vectors through the Go package (tests/conformance/README.md).
//
//	conformance VECTORS RAN [--backend NAME] [--only ID]
//
// VECTORS is the folder of the JSON files. RAN is written: `ran ID` or `failed ID why`, a line per case. The
// status is 0 when every case ran, whatever came out: the check judges, since failures may be expected.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mustafar"
)

type vectors struct {
	Cases []testCase
}

type testCase struct {
	ID       string
	Geometry step
	Recipe   string
	Steps    []step
}

// runsOnRef: the strict tolerances are for the reference rows alone.
func runsOnRef(context *mustafar.Context) (bool, error) {
	for _, op := range []string{"attend", "unpack", "merge"} {
		row, err := context.Kernel(op)
		if err != nil || row.Backend != "ref" {
			return false, err
		}
	}
	return true, nil
}

func readCases(folder string) (cases []testCase, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json")) // sorted
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("no vectors in %s", folder)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var file vectors
		if err := json.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cases = append(cases, file.Cases...)
	}
	return cases, err
}

func run(folder, ran, backend, only string) error {
	cases, err := readCases(folder)
	if err != nil {
		return err
	}
	context, err := mustafar.NewContext(mustafar.ContextOptions{Backend: backend})
	if err != nil {
		return err
	}
	defer context.Close()
	strict, err := runsOnRef(context)
	if err != nil {
		return err
	}
	file, err := os.Create(ran)
	if err != nil {
		return err
	}
	defer file.Close() // what matters is that Flush worked
	out := bufio.NewWriter(file)
	good, bad := 0, 0
	for i := range cases {
		id := cases[i].ID
		if only != "" && id != only {
			continue
		}
		if why := newRunner(context, strict, &cases[i]).run(); why != "" {
			bad++
			fmt.Printf("failed %s: %s\n", id, why)
			fmt.Fprintf(out, "failed %s %s\n", id, strings.ReplaceAll(why, "\n", " "))
		} else {
			good++
			fmt.Fprintf(out, "ran %s\n", id)
		}
	}
	fmt.Printf("%d ran, %d failed\n", good, bad)
	return out.Flush()
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "conformance VECTORS RAN [--backend NAME] [--only ID]")
		os.Exit(2)
	}
	options := flag.NewFlagSet("conformance", flag.ExitOnError)
	backend := options.String("backend", "", "what ContextOptions.Backend takes")
	only := options.String("only", "", "the one case to run")
	_ = options.Parse(os.Args[3:]) // exits where that fails
	if err := run(os.Args[1], os.Args[2], *backend, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
