//! Compiles every file of `proto/` in pure Rust, so that a build needs no `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The module tree of all packages, included by `src/proto.rs`; beside it lies one file a package,
/// as `tonic::include_proto!` expects them.
const INCLUDE_FILE: &str = "packages.rs";

fn main() -> Result<(), Box<dyn Error>> {
    // A folder is watched with all that is in it, so a new file is seen too.
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");

    let protos = proto_files(Path::new("proto"))?;
    for proto in &protos {
        println!("cargo::rerun-if-changed={}", proto.display());
    }
    if protos.is_empty() {
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
        return Ok(fs::write(out.join(INCLUDE_FILE), "")?);
    }

    let descriptors = protox::compile(&protos, ["proto"])?;
    tonic_prost_build::configure()
        .include_file(INCLUDE_FILE)
        // Payloads are shared, not copied, on their way from a socket into the log.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Sorted, so that the same sources give the same output.
fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
