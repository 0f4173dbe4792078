//! Confining the engine's process to its own files (Linux, Landlock).
//!
//! clickhouse-local lets every user read every file that the process can read: `SELECT file('/etc/passwd')` needs no
//! right (26.7; the table function does). The rights of our users do not help against that, the kernel does: from here
//! on this process sees its own directory, the library, and what the C library and the metrics need.
//!
//! It is a second wall: where the kernel has no Landlock (before 5.19, or switched off), the engine runs without.

use std::{fs, io, os::fd::AsRawFd, path::Path};

/// `LANDLOCK_ACCESS_FS_*` of linux/landlock.h.
mod access {
    pub const EXECUTE: u64 = 1 << 0;
    pub const WRITE_FILE: u64 = 1 << 1;
    pub const READ_FILE: u64 = 1 << 2;
    pub const READ_DIR: u64 = 1 << 3;
    /// The rights of version 2 of the interface: all from `EXECUTE` to `REFER` (renames between directories).
    pub const VERSION_2: u64 = (1 << 14) - 1;
    pub const TRUNCATE: u64 = 1 << 14;
    /// Those that make sense for a file that is no directory.
    pub const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;
    pub const READ: u64 = READ_FILE | READ_DIR;
}

/// `struct landlock_ruleset_attr` as of version 1: later fields may be left out.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// What may be read besides: the system's libraries, and facts about time, names, memory and processors.
const READABLE: [&str; 20] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/urandom",
    "/dev/random",
];

/// Confines this thread, and every thread and process it starts from now on, to `own` (everything), `library` and what
/// any program needs (reading). There is no way back.
pub(super) fn confine(own: &Path, library: &Path) -> io::Result<()> {
    let version = version()?;
    if version < 2 {
        // Version 1 forbids every rename between directories, which ClickHouse needs.
        return Err(io::ErrorKind::Unsupported.into());
    }
    let handled = if version >= 3 { access::VERSION_2 | access::TRUNCATE } else { access::VERSION_2 };
    let ruleset = create_ruleset(handled)?;
    allow(&ruleset, own, handled)?;
    allow(&ruleset, library, access::READ_FILE | access::EXECUTE)?;
    allow(&ruleset, Path::new("/dev/null"), access::READ_FILE | access::WRITE_FILE)?;
    for path in READABLE {
        match allow(&ruleset, Path::new(path), access::READ | access::EXECUTE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: landlock_restrict_self(fd, flags) takes no pointer; the descriptor is open.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
    Ok(())
}

/// The interface's version; an error where there is none.
fn version() -> io::Result<i64> {
    let none = std::ptr::null::<RulesetAttr>();
    // SAFETY: with this flag the pointer must be null and the size 0: the kernel only returns a number.
    checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION) })
}

fn create_ruleset(handled_access_fs: u64) -> io::Result<fs::File> {
    use std::os::fd::FromRawFd;
    let attr = RulesetAttr { handled_access_fs };
    // SAFETY: the kernel reads `size_of::<RulesetAttr>()` bytes of `attr`, which lives until after the call.
    let fd = checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0_u32)
    })?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("no file descriptor"))?;
    // SAFETY: the kernel just made this descriptor, and nobody else owns it.
    Ok(unsafe { fs::File::from_raw_fd(fd) })
}

fn allow(ruleset: &fs::File, path: &Path, access: u64) -> io::Result<()> {
    let parent = fs::File::open(path)?;
    let allowed_access = if parent.metadata()?.is_dir() { access } else { access & access::FILE };
    let attr = PathBeneathAttr { allowed_access, parent_fd: parent.as_raw_fd() };
    // SAFETY: the kernel reads one `landlock_path_beneath_attr` from `attr`; both it and the two descriptors live
    // until after the call.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0_u32)
    })?;
    Ok(())
}

fn checked(result: libc::c_long) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
