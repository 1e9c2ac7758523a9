// SPDX-License-Identifier: Apache-2.0
//! Finds libmustafar: MUSTAFAR_LIB_DIR (and MUSTAFAR_INCLUDE_DIR), else pkg-config. Nothing is downloaded or built.
//! Dependent crates read DEP_MUSTAFAR_LIBDIR and DEP_MUSTAFAR_INCLUDE in their build scripts.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

/// The release whose headers the bindings were made of: an older library lacks functions.
const LEAST: &str = env!("CARGO_PKG_VERSION");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in [
        "MUSTAFAR_LIB_DIR",
        "MUSTAFAR_INCLUDE_DIR",
        "PKG_CONFIG",
        "PKG_CONFIG_PATH",
        "PKG_CONFIG_SYSROOT_DIR",
    ] {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    // Documentation and miri need no library.
    let documents = env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() || env::var_os("DOCS_RS").is_some();
    if documents || env::var_os("CARGO_CFG_MIRI").is_some() {
        return;
    }
    let found = match env::var_os("MUSTAFAR_LIB_DIR") {
        Some(folder) => from_variables(PathBuf::from(folder)),
        None => from_pkg_config(),
    };
    match found {
        Ok(()) => println!("cargo:rustc-link-lib=dylib=mustafar"),
        Err(reason) => {
            eprintln!(
                "mustafar-sys: {}\n\nInstall libmustafar {} or newer (cmake --install build), then either\n  \
                 - let pkg-config find it: PKG_CONFIG_PATH=PREFIX/lib/pkgconfig, or\n  \
                 - name its folders: MUSTAFAR_LIB_DIR=PREFIX/lib MUSTAFAR_INCLUDE_DIR=PREFIX/include",
                reason, LEAST
            );
            exit(1);
        }
    }
}

fn from_variables(libraries: PathBuf) -> Result<(), String> {
    let library = libraries.join("libmustafar.so");
    if !library.exists() && !libraries.join("libmustafar.dylib").exists() {
        return Err(format!("MUSTAFAR_LIB_DIR: there is no {}", library.display()));
    }
    // The headers tell the release; beside the library they are found without being named.
    let include = match env::var_os("MUSTAFAR_INCLUDE_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => libraries.join("../include"),
    };
    let header = include.join("mustafar/info.h");
    let text = std::fs::read_to_string(&header)
        .map_err(|error| format!("MUSTAFAR_INCLUDE_DIR: {}: {}", header.display(), error))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("#define MUSTAFAR_VERSION "))
        .map(|rest| rest.trim().trim_matches('"'))
        .ok_or_else(|| format!("{} does not say MUSTAFAR_VERSION", header.display()))?;
    refuse_older(version)?;
    tell(&[libraries], &include);
    Ok(())
}

fn from_pkg_config() -> Result<(), String> {
    let version = pkg_config(&["--modversion"])?;
    refuse_older(version.trim())?;
    let include = pkg_config(&["--variable=includedir"])?;
    let folders: Vec<PathBuf> = pkg_config(&["--libs-only-L"])?
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("-L"))
        .map(PathBuf::from)
        .collect();
    tell(&folders, Path::new(include.trim()));
    Ok(())
}

fn pkg_config(arguments: &[&str]) -> Result<String, String> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let done = Command::new(&program)
        .args(arguments)
        .arg("mustafar")
        .output()
        .map_err(|error| format!("{} cannot be run: {}", program.to_string_lossy(), error))?;
    if !done.status.success() {
        return Err(format!(
            "pkg-config does not find mustafar:\n{}",
            String::from_utf8_lossy(&done.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn numbers(version: &str) -> Vec<u64> {
    let release = version.split('-').next().unwrap_or("");
    release.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn refuse_older(version: &str) -> Result<(), String> {
    if numbers(version) < numbers(LEAST) {
        return Err(format!("libmustafar {} is too old for this crate", version));
    }
    Ok(())
}

fn tell(folders: &[PathBuf], include: &Path) {
    for folder in folders {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:libdir={}", folder.display());
    }
    println!("cargo:include={}", include.display());
}
