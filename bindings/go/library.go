// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import "fmt"

// tooOld says so where the loaded library is older than the headers that this was compiled with: structs and
// flags may be unknown to it. A newer one of the same ABI will do.
var tooOld = olderThanHeaders(Version())

func olderThanHeaders(loaded string) string {
	var major, minor, patch int
	_, err := fmt.Sscanf(loaded, "%d.%d.%d", &major, &minor, &patch)
	number := func(major, minor, patch int) int { return (major*1000+minor)*1000 + patch }
	if err == nil && number(major, minor, patch) >=
		number(C.MUSTAFAR_VERSION_MAJOR, C.MUSTAFAR_VERSION_MINOR, C.MUSTAFAR_VERSION_PATCH) {
		return ""
	}
	return fmt.Sprintf("libmustafar %s is older than %s, for which this program was compiled; look into LD_LIBRARY_PATH",
		loaded, C.MUSTAFAR_VERSION)
}

// usable refuses such a library where work begins.
func usable(call string) error {
	if tooOld == "" {
		return nil
	}
	return &Error{Code: ErrUnsupported, Message: call + ": " + tooOld}
}
