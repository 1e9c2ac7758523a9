// SPDX-License-Identifier: Apache-2.0
//! Versions, and what this machine can run.

use mustafar_sys as sys;

use crate::c::{sized, text};
use crate::error::call;
use crate::types::{DType, KernelInfo};
use crate::Result;

/// Release of the loaded library, "0.1.0" for one.
pub fn version() -> &'static str {
    // SAFETY: static text.
    unsafe { text(sys::mustafar_version()) }
}

/// ABI number of the loaded library; 0 while experimental.
pub fn abi_version() -> u32 {
    // SAFETY: no argument.
    unsafe { sys::mustafar_abi_version() }
}

/// Compiler, build type and options of the loaded library, one line.
pub fn build_text() -> &'static str {
    // SAFETY: static text.
    unsafe { text(sys::mustafar_build_text()) }
}

/// Symbol of a status; "MUSTAFAR_UNKNOWN" for values the library does not know.
pub fn status_name(code: i32) -> &'static str {
    // SAFETY: static text for every value.
    unsafe { text(sys::mustafar_status_name(code)) }
}

/// Symbol of a dtype, "f16" for one.
pub fn dtype_name(dtype: DType) -> &'static str {
    // SAFETY: static text for every value.
    unsafe { text(sys::mustafar_dtype_name(dtype.code())) }
}

/// Every row of every dispatch table, best first.
pub fn kernels() -> Result<Vec<KernelInfo>> {
    // SAFETY: no argument.
    let count = unsafe { sys::mustafar_kernel_count() };
    (0..count)
        .map(|index| {
            let mut out = sized!(mustafar_kernel_info {});
            // SAFETY: `out` is a struct of its stated size.
            call(|error| unsafe { sys::mustafar_kernel_at(index, &mut out, error) })?;
            Ok(KernelInfo::from_raw(&out))
        })
        .collect()
}

/// Names that [`crate::ContextOptions::backend`] takes here: those with a row that this machine can run.
pub fn backends() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for kernel in kernels()? {
        if kernel.available && !names.contains(&kernel.backend) {
            names.push(kernel.backend);
        }
    }
    Ok(names)
}
