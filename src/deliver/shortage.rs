//! Failures of the disk that pass: the system is short of something that others hold.

use std::io;

use super::{DeliverError, plan::PlanError, quarantine::QuarantineError};
use crate::spool::SpoolError;

/// Whether delivery failed because there is no space, no file descriptor or no memory. All it writes are files of its own, put in place as
/// a whole, so that it can go on from what is on disk once there is some.
///
/// Anything else (EIO, a read-only file system) ends the collector: what the disk holds then is for the next start to find out.
pub(super) fn is_cause_of(error: &DeliverError) -> bool {
    let (DeliverError::Spool(SpoolError::Io { source, .. })
    | DeliverError::Plan(PlanError::Io { source, .. })
    | DeliverError::Quarantine(
        QuarantineError::Read { source, .. } | QuarantineError::Write(PlanError::Io { source, .. }),
    )
    | DeliverError::Directory { source, .. }) = error
    else {
        return false;
    };
    let is_space = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    is_space || source.raw_os_error().is_some_and(|code| [libc::EMFILE, libc::ENFILE, libc::ENOMEM].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_hold_passes_and_a_failing_disk_does_not() {
        let failed = |code| {
            let (path, source) = ("plan.json".into(), io::Error::from_raw_os_error(code));
            DeliverError::Plan(PlanError::Io { action: "write", path, source })
        };
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert!(is_cause_of(&failed(code)), "{code}");
        }
        for code in [libc::EIO, libc::EROFS, libc::ENOENT] {
            assert!(!is_cause_of(&failed(code)), "{code}");
        }
    }
}
