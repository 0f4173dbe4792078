//! The fault matrix: everything that can fail around the collector is made to fail, and the promise is held against it.
//!
//! The program is the real one, as a process of its own, before a real ClickHouse; [`checker`] compares the set of events that clients
//! read a 202 for with what searches, lookups and rates answer, each event once, and the books. `docs/reliability.md` says how to run the
//! long version, and how to see the controls turn red. Rows that need root, a loop device or a tool say so loudly where they cannot run;
//! in CI a missing tool fails them.
//!
//! | row | promise | held by |
//! |---|---|---|
//! | 1 | kill -9 under load: nothing lost, nothing twice | `process::row_01_kill_9_under_load`, `process::row_01_kill_9_of_collector_and_clickhouse`, `crash::killing_the_collector_and_the_engine_loses_nothing_and_doubles_nothing`, `totals::row_01_request_totals_outlive_kill_9` |
//! | 2 | power cut under load: the same | `power::row_02_power_cuts_under_load`, `power::row_02_power_cut_after_the_first_start`, `power::row_02_control_without_fdatasync_acknowledged_events_are_lost`, `totals::row_02_request_totals_outlive_power_cuts` |
//! | 3 | cut during segment rotation: the same set recovered | `power::row_03_power_cut_during_segment_rotation`, `spool::tests::property::whatever_crashes_acknowledged_items_are_kept_once` |
//! | 4 | cut during unlink or checkpoint: the same set recovered | `power::row_04_power_cut_during_unlink_and_checkpoint`, `spool::tests::property::whatever_crashes_acknowledged_items_are_kept_once` |
//! | 5 | a second crash during recovery: the same set recovered | `power::row_05_power_cut_during_recovery`, `process::row_05_kill_9_during_recovery` |
//! | 6 | EIO on fdatasync: no ack, the process ends non-zero, the next start recovers | `syscalls::row_06_eio_on_fdatasync_ends_the_process`, `syscalls::row_06_eio_on_write_ends_the_process`, `spool::tests::faults::a_failed_sync_poisons_for_good_and_is_not_tried_again` |
//! | 7 | ENOSPC: 503, earlier acks safe, recovers by itself | `disk::row_07_a_full_disk_is_refused_and_passes_by_itself`, `disk::row_07_killed_while_the_disk_is_full`, `disk::row_07_the_reserve_is_kept`, `syscalls::row_07_enospc_on_write_is_refused_and_passes` |
//! | 8 | short write: nothing lost | `disk::row_07_a_full_disk_is_refused_and_passes_by_itself`, `spool::tests::faults::no_space_is_refused_and_passes_when_there_is_some` |
//! | 9 | EINTR storm: nothing lost | `syscalls::row_09_an_eintr_storm_is_not_noticed` |
//! | 10 | torn tail at every byte: only the last record goes | `damage::row_10_a_torn_tail_costs_the_last_record`, `spool::tests::damage::a_tail_torn_at_any_byte_costs_the_last_record_alone` |
//! | 11 | bit flip in any byte: that record quarantined and counted, the rest delivered | `damage::row_11_a_flipped_bit_costs_its_record`, `spool::tests::damage::a_flip_in_any_byte_of_a_record_costs_that_record_alone`, `spool::tests::damage::damage_in_a_sealed_segment_is_met_by_the_reader` |
//! | 12 | zeroed block: the same | `damage::row_12_a_zeroed_block_costs_the_records_it_touches`, `spool::tests::damage::zeroed_blocks_cost_the_records_they_touch` |
//! | 13 | checkpoint lost or old: no loss, no visible duplicate | `damage::row_13_a_checkpoint_that_is_lost_damaged_or_old`, `damage::row_13_a_checkpoint_that_is_lost_with_the_plan`, `spool::tests::damage::a_lost_or_damaged_checkpoint_delivers_again_and_loses_nothing` |
//! | 14 | slow disk: back-pressure, bounded memory | `syscalls::row_14_a_slow_disk_pushes_back_in_bounded_memory` |
//! | 15 | read-only remount: not ready, no false ack | `disk::row_15_a_file_system_that_turns_read_only` |
//! | 16 | out of file descriptors: recovers | `process::row_16_out_of_file_descriptors_recovers` |
//! | 17 | out-of-memory kill: as 1 | `process::row_17_out_of_memory_is_a_crash_like_another` |
//! | 18 | two processes on one data directory: the second refuses | `process::row_18_a_second_process_refuses` |
//! | 19 | ClickHouse down for long: queued, drained at ≥ 3× the ingest rate | `network::row_19_an_outage_is_queued_and_drained_at_three_times_the_ingest_rate`, `contract::outage::a_full_spool_answers_503_and_takes_events_again_when_delivery_has_made_room` |
//! | 20 | ClickHouse killed mid-insert: each event once | `network::row_20_clickhouse_killed_in_the_middle_of_an_insert` |
//! | 21 | response swallowed: reconciled, no duplicate | `network::row_21_a_swallowed_answer_is_reconciled` |
//! | 22 | cut after N bytes: reconciled, no duplicate | `network::row_22_a_request_that_is_cut_is_sent_again`, `network::row_22_an_answer_that_is_cut_is_reconciled` |
//! | 23 | hang: reconciled, no duplicate | `network::row_23_a_connection_that_hangs_is_given_up`, `network::row_23_a_frozen_clickhouse_loses_and_doubles_nothing`, `network::row_23_a_server_that_accepts_and_says_nothing`, `network::row_23_a_late_answer_is_waited_for` |
//! | 24 | ClickHouse loses its deduplication log: no visible duplicate | `store::row_24_a_lost_deduplication_log` |
//! | 25 | TOO_MANY_PARTS: slows, loses nothing | `store::row_25_too_many_parts_slows_and_loses_nothing` |
//! | 26 | schema drift or a poison row: at most that row quarantined | `store::row_26_a_poison_row_is_quarantined_alone`, `store::row_26_a_drifted_table_costs_no_row` |
//! | 27 | replica unreachable: no loss | `network::row_27_an_unreachable_replica_loses_nothing` |
//! | 28 | HTTP 200 with an exception inside: a failure | `network::row_28_a_200_with_an_exception_inside_is_a_failure` |
//! | 29 | clock ±1 h, ±1 year: sane | `time::row_29_a_clock_that_jumps` |
//! | 30 | Alertmanager down, slow, 500: delivered at least once later | `alerts::receivers::row_30_what_a_receiver_does_not_take_is_delivered_later_also_after_a_restart` |
//! | 31 | crash between notify and mark: a duplicate at most | `alerts::receivers::row_31_a_crash_between_sending_and_forgetting_sends_the_same_again` |
//! | 32 | 10,000 slow clients: others unaffected | `clients::row_32_slow_clients_do_not_keep_others_waiting` |
//! | 33 | SIGTERM under load: drains or keeps all | `process::row_33_sigterm_under_load`, `process::row_33_sigterm_without_clickhouse_keeps_all` |
//! | 34 | upgrade and rollback with a full spool | `upgrade::row_34_the_spool_of_the_first_version_is_delivered`, `upgrade::row_34_a_newer_spool_is_refused_and_left_alone`, `spool::tests::golden::format_1_is_readable` |

mod checker;
mod clients;
pub(crate) mod collector;
mod damage;
mod disk;
pub(crate) mod engine;
mod index;
mod load;
pub(crate) mod machine;
mod network;
mod power;
mod process;
pub(crate) mod proxy;
pub(crate) mod rig;
mod store;
mod syscalls;
mod time;
mod totals;
mod upgrade;
