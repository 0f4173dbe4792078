//! What we wrote ourselves and read back: the spool's payloads, the plan of a delivery, quarantined events.

use std::path::Path;

use super::{draw::Draw, events::context, sound::assert_event};
use crate::{
    decode::{self, Format, Limits},
    deliver::{
        plan::{Batch, Plan, PlanError},
        quarantine,
    },
    event::codec,
    spool::Position,
};

const FILE: &str = "a.file";

/// Any bytes are an event or none; an event is read back as it was written, and no part of it is another.
pub fn payloads(input: &[u8]) {
    if let Ok(event) = codec::decode(input) {
        let payload = codec::encode(&event);
        // A duration of no number is not equal to itself; its bytes are.
        assert_eq!(codec::encode(&codec::decode(&payload).unwrap()), payload);
        assert!(payload.len() <= input.len(), "there is one shortest form");
        for end in (0..payload.len()).rev().take(64) {
            assert!(codec::decode(&payload[..end]).is_err(), "cut off at {end}");
        }
    }
    if let Some((&version, _)) = input.split_first()
        && version != codec::VERSION
    {
        assert!(matches!(codec::decode(input), Err(codec::DecodeError::UnknownVersion(found)) if found == version));
    }
    let limits = Limits::default();
    let Ok(decoded) = decode::events(Format::Ndjson, input, context(&limits)) else { return };
    decoded.events.iter().take(8).for_each(|(_, event)| assert_event(event));
}

/// Any bytes are a plan or none; a plan with a bit flipped is none.
pub fn plans(input: &[u8]) {
    let path = Path::new(FILE);
    match Plan::parse(path, input) {
        Ok(plan) => {
            let content = plan.content(path).unwrap();
            assert_eq!(Plan::parse(path, &content).unwrap(), plan, "a plan is read back as it was written");
            damaged(&plan, &content, &mut Draw::new(input));
        }
        Err(PlanError::Newer { version, .. }) => assert!(version > 2),
        Err(PlanError::Damaged { message, .. }) => assert!(!message.is_empty()),
        Err(other) => panic!("{other}"),
    }
    let plan = made(&mut Draw::new(input));
    damaged(&plan, &plan.content(path).unwrap(), &mut Draw::new(input));
}

fn damaged(plan: &Plan, content: &[u8], draw: &mut Draw<'_>) {
    for _ in 0..16 {
        let mut flipped = content.to_vec();
        let at = draw.below(flipped.len().min(65_536));
        flipped[at] ^= 1 << draw.below(8);
        // The same plan it may still be: hex digits of an id in capitals.
        let read = Plan::parse(Path::new(FILE), &flipped);
        assert!(read.as_ref().map_or(true, |read| read == plan), "flipped at {at}: {read:?}");
    }
    let at = draw.below(content.len());
    assert!(Plan::parse(Path::new(FILE), &content[..at]).is_err(), "cut off at {at}");
}

fn made(draw: &mut Draw<'_>) -> Plan {
    let mut number = || u64::from(draw.byte()) << 24 | u64::from(draw.byte());
    let start = number();
    let mut at = start;
    let mut batches = Vec::new();
    for _ in 0..number() % 4 {
        let (from, rows) = (at + number() % 3, 1 + number() % 500);
        at = from + rows;
        batches.push(Batch {
            id: uuid::Uuid::from_u64_pair(number(), number()),
            from: Position(from),
            to: Position(at),
            rows: rows as usize,
            received_ms: (number() as i64, number() as i64),
            digest: number() << 32 | number(),
        });
    }
    Plan::new(Position(start), Position(at + number() % 3), batches, Vec::new())
}

/// Any bytes are a quarantined event or none; its payload is what follows the first line, byte for byte.
pub fn quarantine_files(input: &[u8]) {
    let path = Path::new(FILE);
    let Ok((entry, payload, event)) = quarantine::parse(path, input) else { return };
    let head = input.len() - payload.len();
    assert!(input.ends_with(&payload) && input[head - 1] == b'\n' && !input[..head - 1].contains(&b'\n'));
    assert_eq!(event.is_some(), codec::decode(&payload).is_ok());
    if let Some(event) = &event {
        assert_eq!(entry.project.as_deref(), Some(event.project.as_str()), "its own payload says whose it is");
    }
    let written = [&serde_json::to_vec(&entry).unwrap()[..], b"\n", &payload].concat();
    let (again, same, _) = quarantine::parse(path, &written).unwrap();
    assert!(again == entry && same == payload, "an entry is read back as it was written");
}
