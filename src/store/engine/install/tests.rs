use std::os::unix::fs::PermissionsExt;

use super::*;

fn quiet(directory: &Path) -> InstallOptions {
    InstallOptions { directory: Some(directory.to_owned()), from: None, show: Show::Nothing }
}

/// A program that stands in for npm.
fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("npm");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_library_without_its_marker_or_of_another_size_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status_in(dir.path()).bytes, 0);
    let home = dir.path().join(VERSION);
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join(LIBRARY), "1234").unwrap();
    assert!(!status_in(dir.path()).installed);

    let marker = |bytes, tarball: &str| Marker {
        version: VERSION.to_owned(),
        library_bytes: bytes,
        library_sha256: String::new(),
        tarball_sha512: tarball.to_owned(),
    };
    for (marker, installed) in
        [(marker(4, TARBALL_SHA512), true), (marker(5, TARBALL_SHA512), false), (marker(4, "other"), false)]
    {
        fs::write(home.join(MARKER), serde_json::to_vec(&marker).unwrap()).unwrap();
        assert_eq!(status_in(dir.path()).installed, installed);
    }
}

#[test]
fn a_tarball_that_is_not_the_package_is_refused_and_nothing_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let forged = dir.path().join("forged.tgz");
    fs::write(&forged, "not the package").unwrap();
    let options = InstallOptions { from: Some(forged), ..quiet(dir.path()) };
    assert!(matches!(install(&options), Err(InstallError::Integrity { .. })));
    assert!(!dir.path().join(VERSION).exists());
}

#[test]
fn npm_is_named_with_the_command_that_installs_it_when_it_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let progress = Progress::new(Show::Nothing);
    let error = npm::pack_with(&dir.path().join("no-npm"), &dir.path().join("d"), &progress).unwrap_err();
    assert!(matches!(error, InstallError::NpmMissing));
    assert!(error.to_string().contains("sudo apt install npm"), "{error}");
}

#[test]
fn what_npm_says_is_told_with_its_class() {
    let dir = tempfile::tempdir().unwrap();
    let progress = Progress::new(Show::Nothing);
    let npm =
        script(dir.path(), "echo 'npm error code ENOTFOUND' >&2; echo 'npm error network request failed' >&2; exit 1");
    let error = npm::pack_with(&npm, &dir.path().join("d"), &progress).unwrap_err();
    assert!(matches!(&error, InstallError::Offline(said) if said.contains("request failed")), "{error}");
    assert!(matches!(npm::classify("npm error code E404"), InstallError::NotInRegistry(_)));
    assert!(matches!(npm::classify("npm error code EWHATEVER"), InstallError::Npm(_)));

    let silent = script(dir.path(), "exit 0");
    assert!(matches!(npm::pack_with(&silent, &dir.path().join("e"), &progress), Err(InstallError::Npm(_))));
}

#[test]
fn an_unverified_tarball_of_an_earlier_try_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let tarball = dir.path().join("package.tgz");
    fs::write(&tarball, "cut short").unwrap();
    let progress = Progress::new(Show::Nothing);
    assert!(matches!(verify(&tarball, &progress), Err(InstallError::Integrity { .. })));
}
