// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import "unsafe"

// The address of the first element, as the type that C wants; nil for an empty slice.

func charsOf(bytes []byte) *C.char { return (*C.char)(unsafe.Pointer(&bytes[0])) } // never empty

func bytesPointer(bytes []uint8) *C.uint8_t {
	if len(bytes) == 0 {
		return nil
	}
	return (*C.uint8_t)(&bytes[0])
}

func int32sOf(numbers []int32) *C.int32_t {
	if len(numbers) == 0 {
		return nil
	}
	return (*C.int32_t)(&numbers[0])
}

func floatsOf(numbers []float32) *C.float {
	if len(numbers) == 0 {
		return nil
	}
	return (*C.float)(&numbers[0])
}

func firstOf(pointers []C.uintptr_t) *C.uintptr_t {
	if len(pointers) == 0 {
		return nil
	}
	return &pointers[0]
}
