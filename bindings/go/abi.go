// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import "reflect"

// For abi_test.go, since test files cannot use cgo: the structs as cgo lays them out, and the constants that
// nothing else of the package exposes.

func layouts() map[string]reflect.Type {
	return map[string]reflect.Type{
		"mustafar_error":           reflect.TypeOf(C.mustafar_error{}),
		"mustafar_tensor":          reflect.TypeOf(C.mustafar_tensor{}),
		"mustafar_geometry":        reflect.TypeOf(C.mustafar_geometry{}),
		"mustafar_bytes":           reflect.TypeOf(C.mustafar_bytes{}),
		"mustafar_kernel_info":     reflect.TypeOf(C.mustafar_kernel_info{}),
		"mustafar_allocator":       reflect.TypeOf(C.mustafar_allocator{}),
		"mustafar_log_hook":        reflect.TypeOf(C.mustafar_log_hook{}),
		"mustafar_context_options": reflect.TypeOf(C.mustafar_context_options{}),
		"mustafar_context_stats":   reflect.TypeOf(C.mustafar_context_stats{}),
		"mustafar_side_info":       reflect.TypeOf(C.mustafar_side_info{}),
		"mustafar_cache_options":   reflect.TypeOf(C.mustafar_cache_options{}),
		"mustafar_prune_options":   reflect.TypeOf(C.mustafar_prune_options{}),
		"mustafar_cache_stats":     reflect.TypeOf(C.mustafar_cache_stats{}),
		"mustafar_attend_options":  reflect.TypeOf(C.mustafar_attend_options{}),
	}
}

func hiddenConstants() map[string]any {
	return map[string]any{
		"MUSTAFAR_VERSION":            C.MUSTAFAR_VERSION,
		"MUSTAFAR_VERSION_MAJOR":      C.MUSTAFAR_VERSION_MAJOR,
		"MUSTAFAR_VERSION_MINOR":      C.MUSTAFAR_VERSION_MINOR,
		"MUSTAFAR_VERSION_PATCH":      C.MUSTAFAR_VERSION_PATCH,
		"MUSTAFAR_CONTEXT_REFUSE_REF": C.MUSTAFAR_CONTEXT_REFUSE_REF, // ContextOptions.RefuseRef
		"MUSTAFAR_CACHE_AUTO":         C.MUSTAFAR_CACHE_AUTO,         // not CacheOptions.Manual
		"MUSTAFAR_ATTEND_AT":          C.MUSTAFAR_ATTEND_AT,          // AttendOptions.At
	}
}
