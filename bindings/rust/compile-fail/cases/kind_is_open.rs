// SPDX-License-Identifier: Apache-2.0
// A match on kinds must allow for those of newer libraries.
use mustafar::*;

fn is_bug(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidArgument | ErrorKind::Unsupported | ErrorKind::BadState => false,
        ErrorKind::OutOfMemory { .. } | ErrorKind::Capacity { .. } | ErrorKind::NonFinite { .. } => false,
        ErrorKind::NotExact { .. } | ErrorKind::Corrupt { .. } | ErrorKind::Mismatch => false,
        ErrorKind::Io { .. } | ErrorKind::Device | ErrorKind::Unknown(_) => false,
        ErrorKind::Internal => true,
    }
}

fn main() {
    let _ = is_bug;
}
