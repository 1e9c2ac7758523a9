// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionsAreCompared(t *testing.T) {
	for loaded, fits := range map[string]bool{
		Version(): true, "0.1.1": true, "0.2.0-rc1": true, "1.0.0": true, "0.0.9": false, "": false, "new": false,
	} {
		if text := olderThanHeaders(loaded); (text == "") != fits {
			t.Errorf("%q: %q", loaded, text)
		}
	}
}

// This program once more, on a library that says it is older: an error, before anything of it is called.
func TestAnOlderLibraryIsRefused(t *testing.T) {
	if os.Getenv("MUSTAFAR_GO_STUB") != "" { // the program once more
		_, err := NewContext(ContextOptions{})
		_, again := ParseRecipe("lean")
		if !errors.Is(again, ErrUnsupported) {
			err = again
		}
		fmt.Println("told:", err)
		return
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skip("no C compiler")
	}
	folder, source := t.TempDir(), `const char *mustafar_version(void) { return "0.0.9"; }`+"\n"
	for _, function := range readABI(t).Functions {
		if function.Name != "mustafar_version" {
			source += "int " + function.Name + "(void) { __builtin_trap(); }\n"
		}
	}
	check(t, os.WriteFile(filepath.Join(folder, "stub.c"), []byte(source), 0o600))
	made, err := exec.Command(compiler, "-w", "-shared", "-fPIC", "-Wl,-soname,libmustafar.so.0",
		"-Wl,--version-script=../../capi/abi/mustafar.map", "-o", filepath.Join(folder, "libmustafar.so.0"),
		filepath.Join(folder, "stub.c")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, made)
	}
	again := exec.Command(os.Args[0], "-test.run", "^TestAnOlderLibraryIsRefused$")
	again.Env = append(os.Environ(), "MUSTAFAR_GO_STUB=1", "LD_LIBRARY_PATH="+folder)
	said, err := again.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "told: mustafar_context_create: libmustafar 0.0.9 is older than ") {
		t.Errorf("%v: %s", err, said)
	}
}
