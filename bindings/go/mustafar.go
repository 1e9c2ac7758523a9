// SPDX-License-Identifier: Apache-2.0

// Package mustafar is a KV cache that stays small: keys and values are pruned, quantized and attended in
// packed form. Names, order and defaults are those of the C API, whose headers are the contract.
//
//	context, err := mustafar.NewContext(mustafar.ContextOptions{})
//	recipe, err := mustafar.ParseRecipe("lean")
//	cache, err := mustafar.NewCache(context, geometry, recipe, mustafar.CacheOptions{MaxTokens: 4096})
//	err = cache.Append(0, mustafar.F32(k, 1000, 2, 128), mustafar.F32(v, 1000, 2, 128))
//	out, _, err := cache.Attend(0, mustafar.F32(q, 1, 8, 128), mustafar.AttendOptions{})
//
// Errors are [*Error]; errors.Is tells their kind ([ErrNonFinite], ...). A call that fails has changed
// nothing. No input panics.
//
// Goroutines: every method of a [Context] or [Recipe] may overlap any other. On one [Cache], questions (and
// Attend, Fork, Save) may overlap; a method that changes it needs it alone, and the call that finds it in use
// is refused with [ErrBusy]. Slices that are given to a call must not change until it returns.
//
// Ownership: Close gives memory back now and may be called again; later calls return [ErrClosed]. A finalizer
// does it for what is forgotten, but the garbage collector does not see how large a cache is: call Close.
package mustafar

// #cgo pkg-config: mustafar
// #include "shim.h"
import "C"

// All stands for every layer or every kv head, wherever a call says so.
const All = C.MUSTAFAR_ALL

// MaxDims is the largest number of dimensions of a tensor.
const MaxDims = C.MUSTAFAR_MAX_DIMS

// ModelIDMax is the largest number of bytes of a model id.
const ModelIDMax = C.MUSTAFAR_MODEL_ID_MAX

// Version returns the release of the loaded library, "0.1.0" for one.
func Version() string { return C.GoString(C.mustafar_version()) }

// ABIVersion returns the ABI number of the loaded library; 0 while experimental.
func ABIVersion() int { return int(C.mustafar_abi_version()) }

// BuildText returns compiler, build type and options of the loaded library.
func BuildText() string { return C.GoString(C.mustafar_build_text()) }

// KernelInfo is one row of a dispatch table.
type KernelInfo struct {
	Available bool   // this machine can run it
	Op        string // "attend", "prune", "pack", "unpack", "merge", "order"
	Backend   string // what ContextOptions.Backend takes
	Name      string // the function, as a profiler shows it
	Reason    string // why it is not available
}

func kernelInfo(info *C.mustafar_kernel_info) KernelInfo {
	return KernelInfo{
		Available: info.available != 0,
		Op:        text(info.op[:]),
		Backend:   text(info.backend[:]),
		Name:      text(info.name[:]),
		Reason:    text(info.reason[:]),
	}
}

// Kernels lists the rows of all dispatch tables, the best of each operation first.
func Kernels() ([]KernelInfo, error) {
	rows := make([]KernelInfo, C.mustafar_kernel_count())
	for i := range rows {
		result := C.mustafar_go_kernel_at(C.size_t(i))
		if err := failure(&result.error); err != nil {
			return nil, err
		}
		rows[i] = kernelInfo(&result.info)
	}
	return rows, nil
}

// Backends lists the names that ContextOptions.Backend takes here, best first.
func Backends() ([]string, error) {
	rows, err := Kernels()
	var names []string
	seen := map[string]bool{}
	for _, row := range rows {
		if row.Available && !seen[row.Backend] {
			seen[row.Backend] = true
			names = append(names, row.Backend)
		}
	}
	return names, err
}

// text is the string in a C array. Written in Go, since a C call would move the array to the heap.
func text(array []C.char) string {
	bytes := make([]byte, 0, len(array))
	for _, c := range array {
		if c == 0 {
			break
		}
		bytes = append(bytes, byte(c))
	}
	return string(bytes)
}
