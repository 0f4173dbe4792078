//! What is damaged is set aside and counted, once; everything else is delivered.

use super::{
    super::{
        Batch,
        files::{TEMPORARY, read_whole},
        format::{Items, RecordHeader, SEGMENT_HEADER_BYTES},
    },
    *,
};

const FIRST: &str = "00000000000000000000.seg";

/// Where the records of a segment begin, and its end.
fn boundaries(segment: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![SEGMENT_HEADER_BYTES];
    while let Some(header) = RecordHeader::decode(&segment[boundaries[boundaries.len() - 1]..]) {
        boundaries.push(boundaries[boundaries.len() - 1] + header.bytes() as usize);
    }
    assert_eq!(boundaries.last(), Some(&segment.len()));
    boundaries
}

fn quarantine(disk: &Simulated) -> Vec<String> {
    disk.names("quarantine").into_iter().filter(|name| !name.ends_with(TEMPORARY)).collect()
}

#[test]
fn a_tail_torn_at_any_byte_costs_the_last_record_alone() {
    let disk = disk_with(roomy(), &[&[1, 2], &[3], &[4, 5]]);
    let whole = disk.content(FIRST);
    let boundaries = boundaries(&whole);
    let last = boundaries[boundaries.len() - 2];
    for end in last..whole.len() {
        for filler in [0, 1000] {
            let disk = disk.duplicate();
            let mut torn = whole[..end].to_vec();
            torn.resize(torn.len() + filler, 0);
            disk.set_content(FIRST, &torn);
            let (writer, mut reader) = open(&disk, roomy());
            assert_eq!(queued(&mut reader), [1, 2, 3], "torn at {end}");
            assert_eq!(writer.stats().quarantined, 0);
            assert_eq!(disk.content(FIRST).len(), last);
            assert_eq!(writer.recovery().torn_bytes, (end - last + filler) as u64);
            assert_eq!(append(&writer, [3, 4, 6]), [0], "what was torn off is taken again");
            assert_eq!(queued(&mut reader), [1, 2, 3, 4, 6]);
            close(&writer);
            let (_writer, mut reader) = open(&disk, roomy());
            assert_eq!(queued(&mut reader), [1, 2, 3, 4, 6]);
        }
    }
}

#[test]
fn positions_of_a_record_that_was_cut_off_are_not_given_again() {
    let disk = disk_with(roomy(), &[&[1, 2], &[3, 4]]);
    let whole = disk.content(FIRST);
    disk.set_content(FIRST, &whole[..whole.len() - 1]);
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, [5]);
    assert_eq!(reader.read_range(position(2), position(4)).unwrap().items, []);
    assert_eq!(queued(&mut reader), [1, 2, 5]);
    assert_eq!(writer.stats().items, 3);
}

#[test]
fn a_flip_in_any_byte_of_a_record_costs_that_record_alone() {
    let disk = disk_with(roomy(), &[&[1, 2], &[3, 4, 5], &[6], &[7]]);
    let whole = disk.content(FIRST);
    let boundaries = boundaries(&whole);
    for at in boundaries[1]..boundaries[2] {
        let disk = disk.duplicate();
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        disk.set_content(FIRST, &damaged);
        for _ in 0..2 {
            let (writer, mut reader) = open(&disk, roomy());
            assert_eq!(queued(&mut reader), [1, 2, 6, 7], "flipped at {at}");
            assert_eq!(writer.stats().quarantined, 3, "flipped at {at}");
            assert_eq!(disk.content(FIRST), damaged, "the segment is left as it is");
            close(&writer);
        }
        let aside = format!("{:020}-{:012}-3.bad", 0, boundaries[1]);
        assert_eq!(quarantine(&disk), [aside.as_str()]);
        let bytes = read_whole(&*disk.root().subdir("quarantine").unwrap(), &aside).unwrap();
        assert_eq!(bytes, &damaged[boundaries[1]..boundaries[2]]);
        let (writer, mut reader) = open(&disk, roomy());
        drain(&mut reader);
        assert_eq!(append(&writer, 1..8), [0, 1, 5, 6], "what was lost is taken again");
    }
}

#[test]
fn damage_in_a_sealed_segment_is_met_by_the_reader() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    for key in 0..40 {
        append(&writer, [key]);
    }
    let second = segments(&disk)[1].clone();
    let segment = disk.content(&second);
    let boundaries = boundaries(&segment);
    let head: u128 = second[..20].parse().unwrap();
    let tail = head + boundaries.len() as u128 - 2;
    for (record, at) in [(0, 3), (boundaries.len() - 2, 60)] {
        let mut damaged = disk.content(&second);
        damaged[boundaries[record] + at] ^= 0x10;
        disk.set_content(&second, &damaged);
    }
    let expected: Vec<u128> = (0..40).filter(|key| *key != head && *key != tail).collect();
    assert_eq!(queued(&mut reader), expected);
    let syncs = disk.syncs();
    assert_eq!(queued(&mut reader), expected);
    assert_eq!(disk.syncs(), syncs, "set aside once");
    assert_eq!(writer.stats().quarantined, 2);
    close(&writer);
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(writer.recovery().segments_scanned, 1);
    assert_eq!(queued(&mut reader), expected);
    assert_eq!(writer.stats().quarantined, 2);
}

#[test]
fn zeroed_blocks_cost_the_records_they_touch() {
    let calls: Vec<Vec<u128>> = (0..40).map(|key| vec![key]).collect();
    let disk = disk_with(roomy(), &calls.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let whole = disk.content(FIRST);
    let boundaries = boundaries(&whole);
    let (from, to) = (1024, 1536);
    let mut damaged = whole;
    damaged[from..to].fill(0);
    disk.set_content(FIRST, &damaged);
    let (writer, mut reader) = open(&disk, roomy());
    let untouched = |key: &u128| boundaries[*key as usize + 1] <= from || boundaries[*key as usize] >= to;
    assert_eq!(queued(&mut reader), (0..40).filter(untouched).collect::<Vec<_>>());
    assert_eq!(writer.stats().quarantined, (0..40).filter(|key| !untouched(key)).count() as u64);
}

#[test]
fn a_segment_that_lost_its_end_is_read_as_far_as_it_goes() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    for key in 0..20 {
        append(&writer, [key]);
    }
    let cut = disk.content(FIRST);
    let boundaries = boundaries(&cut);
    disk.set_content(FIRST, &cut[..boundaries[2]]);
    let next: u128 = segments(&disk)[1][..20].parse().unwrap();
    let expected: Vec<u128> = (0..2).chain(next..20).collect();
    assert_eq!(queued(&mut reader), expected);
    assert_eq!(writer.stats().quarantined, next as u64 - 2);
    close(&writer);
    let (_writer, mut reader) = open(&disk, options());
    assert_eq!(queued(&mut reader), expected);
}

#[test]
fn a_damaged_segment_header_costs_no_record() {
    let calls: Vec<Vec<u128>> = (0..30).map(|key| vec![key]).collect();
    let disk = disk_with(options(), &calls.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for name in segments(&disk) {
        for at in 0..SEGMENT_HEADER_BYTES {
            let disk = disk.duplicate();
            let mut damaged = disk.content(&name);
            damaged[at] ^= 0x20;
            disk.set_content(&name, &damaged);
            for _ in 0..2 {
                let (writer, mut reader) = open(&disk, options());
                assert_eq!(queued(&mut reader), (0..30).collect::<Vec<_>>(), "{name} at {at}");
                assert_eq!(append(&writer, 0..30).len(), 30);
                assert_eq!(writer.stats().quarantined, 1, "{name} at {at}");
                close(&writer);
            }
        }
    }
}

#[test]
fn a_last_segment_of_which_nothing_can_be_used_is_set_aside_whole() {
    let disk = disk_with(roomy(), &[&[1]]);
    disk.set_content(FIRST, &[7; 100]);
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, [1, 2]);
    assert_eq!(queued(&mut reader), [1, 2]);
    assert_eq!(quarantine(&disk), ["00000000000000000000-000000000000-1.bad"]);
    close(&writer);
    let (_writer, mut reader) = open(&disk, roomy());
    assert_eq!(queued(&mut reader), [1, 2]);
}

#[test]
fn a_segment_of_a_newer_format_is_refused_by_name_and_left_alone() {
    let disk = disk_with(options(), &[&[1]]);
    let mut newer = disk.content(FIRST);
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..28]);
    newer[28..32].copy_from_slice(&crc.to_le_bytes());
    disk.set_content(FIRST, &newer);
    let error = try_open(&disk, options()).err().unwrap();
    assert!(matches!(error, SpoolError::NewerFormat { version: 2, .. }));
    assert!(error.to_string().contains(FIRST), "{error}");
    assert_eq!(disk.content(FIRST), newer);
}

#[test]
fn a_lost_or_damaged_checkpoint_delivers_again_and_loses_nothing() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, 0..20);
    reader.forget(position(10)).unwrap();
    close(&writer);
    let checkpoint = disk.content("checkpoint");
    for at in 0..checkpoint.len() {
        let mut damaged = checkpoint.clone();
        damaged[at] ^= 4;
        disk.set_content("checkpoint", &damaged);
        let (writer, mut reader) = open(&disk, roomy());
        assert!(writer.recovery().checkpoint_damaged);
        assert_eq!(queued(&mut reader), (0..20).collect::<Vec<_>>());
        close(&writer);
    }
    disk.remove("checkpoint");
    let (_writer, mut reader) = open(&disk, roomy());
    assert_eq!(queued(&mut reader), (0..20).collect::<Vec<_>>());
}

#[test]
fn positions_do_not_go_back_when_files_are_lost() {
    for lost in [&["checkpoint"][..], &[".seg"], &["checkpoint", ".seg"]] {
        let disk = Simulated::default();
        let (writer, mut reader) = open(&disk, options());
        append(&writer, 0..30);
        append(&writer, 30..31);
        drain(&mut reader);
        close(&writer);
        for name in lost.iter().flat_map(|suffix| named(&disk, suffix)) {
            disk.remove(&name);
        }
        let (writer, mut reader) = open(&disk, options());
        let from = reader.start();
        append(&writer, [100]);
        let chunk = reader.read(from, 100, 1000).unwrap();
        assert!(chunk.items.last().is_some_and(|(at, item)| at.0 >= 30 && item.key == 100), "{lost:?}: {chunk:?}");
    }
}

#[test]
fn a_lost_or_damaged_sidecar_costs_a_scan() {
    let calls: Vec<Vec<u128>> = (0..30).map(|key| vec![key]).collect();
    let disk = disk_with(options(), &calls.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let name = "00000000000000000000.keys";
    let sidecar = disk.content(name);
    for at in 0..=sidecar.len() {
        let disk = disk.duplicate();
        if at < sidecar.len() {
            let mut damaged = sidecar.clone();
            damaged[at] ^= 0x80;
            disk.set_content(name, &damaged);
        } else {
            disk.remove(name);
        }
        let (writer, mut reader) = open(&disk, options());
        assert_eq!(queued(&mut reader), (0..30).collect::<Vec<_>>(), "sidecar damaged at {at}");
        assert_eq!(append(&writer, 0..30).len(), 30, "sidecar damaged at {at}");
        assert_eq!(writer.recovery().segments_scanned, 2);
        assert_eq!(disk.content(name), sidecar, "it is written anew");
    }
}

#[test]
fn a_sidecar_whose_segment_is_gone_costs_the_memory_of_its_keys_alone() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    append(&writer, 0..30);
    append(&writer, 30..31);
    drain(&mut reader);
    close(&writer);
    let name = "00000000000000000000.keys";
    let cut = disk.content(name)[..50].to_vec();
    disk.set_content(name, &cut);
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(writer.recovery().sidecars_unusable, 1);
    assert_eq!(queued(&mut reader), []);
    append(&writer, 100..110);
    assert_eq!(queued(&mut reader), (100..110).collect::<Vec<_>>());
}

#[test]
fn bytes_that_a_client_made_up_are_no_record() {
    let payload = Batch::from(vec![item(666)]).encoded(0..1).to_vec();
    let forged = RecordHeader {
        payload_bytes: payload.len() as u32,
        segment: 12345,
        first: 1,
        synced: 0,
        appended_ms: 0,
        items: 1,
        payload_crc: crc32c::crc32c(&payload),
    };
    let forged = [&forged.encode()[..], &payload].concat();
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, roomy());
    for (key, payload) in [(1, b"one".to_vec()), (2, forged), (3, b"three".to_vec())] {
        run(writer.append(vec![Item { key, tag: 0, payload }])).unwrap();
    }
    close(&writer);
    let mut damaged = disk.content(FIRST);
    let at = boundaries(&damaged)[1];
    damaged[at] ^= 1;
    disk.set_content(FIRST, &damaged);
    let (_writer, mut reader) = open(&disk, roomy());
    let chunk = reader.read(position(0), 100, 10_000).unwrap();
    assert_eq!(chunk.items.iter().map(|(_, item)| item.key).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn lengths_that_lie_are_no_items() {
    let mut payload = Batch::from(vec![item(1)]).encoded(0..1).to_vec();
    assert!(Items::are_whole(&payload, 1));
    assert!(!Items::are_whole(&payload, 2));
    payload[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(!Items::are_whole(&payload, 1));
    assert_eq!(Items::of(&payload).count(), 0);
}
