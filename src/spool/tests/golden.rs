//! Files of every released format stay readable. `tests/data/spool-v1/` was written by the first version; it is never
//! written anew: a later format gets a directory of its own.

use super::*;

const FILES: [&str; 4] =
    ["00000000000000000000.seg", "00000000000000000000.keys", "00000000000000000018.seg", "checkpoint"];

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/spool-v1")
}

#[test]
fn format_1_is_readable() {
    let disk = Simulated::default();
    for name in FILES {
        disk.set_content(name, &std::fs::read(golden().join(name)).unwrap());
    }
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(writer.recovery().segments_scanned, 1, "the sidecar is understood");
    assert_eq!(reader.start(), position(5), "the checkpoint is understood");
    assert_eq!(queued(&mut reader), (5..21).collect::<Vec<_>>());
    assert_eq!(append(&writer, 0..22).len(), 21, "the keys are understood");
    assert_eq!(writer.stats().quarantined, 0);
}

/// Run once a format: `cargo test --lib golden -- --ignored`.
#[test]
#[ignore = "writes the files that the other test reads"]
fn write_the_files_of_a_new_format() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    for call in [0..2, 2..5, 5..18, 18..21] {
        append(&writer, call);
    }
    reader.forget(position(5)).unwrap();
    close(&writer);
    assert!(!golden().exists(), "the files of a released format are not changed");
    std::fs::create_dir_all(golden()).unwrap();
    for name in FILES {
        std::fs::write(golden().join(name), disk.content(name)).unwrap();
    }
}
