//! The suite that every executor must pass.
//!
//! A backend's test file is one call, which makes one test of each case:
//!
//! ```ignore
//! cellblock_conformance::conformance!(make_executor().await);
//! ```
//!
//! The expression returns the executor, or an `Arc`, `Box` or reference to it; it is evaluated in
//! each test. The backend's package needs `tokio` with the features `macros` and `rt-multi-thread`.
//!
//! Beside the suite, [`traces`] finds processes that programs left on the host, and [`double`] is
//! an executor in memory, for tests of code that uses executors.
//!
//! Rules of the suite: A denial has a control, the same program with the grant. A case asserts on
//! the state of the host where it can, not on the guest's output. A case for something that the
//! executor's [`Capabilities`](cellblock_exec::Capabilities) do not claim asserts that it is
//! refused. A limit at its maximum value (`u64::MAX`, `Duration::MAX`) requests no limit. All
//! programs are Python.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "cases are assertions; the double panics at a program that it does not know"
)]

pub mod cancel;
pub mod double;
pub mod figures;
pub mod fork;
pub mod host;
pub mod hostile;
pub mod languages;
pub mod limits;
pub mod network;
pub mod output;
pub mod processes;
pub mod state;
mod steps;
pub mod traces;
pub mod workspace;

/// A conversion to the contract: `executor.as_executor()` works on an executor, an `Arc`, a `Box`
/// and a reference.
pub trait AsExecutor {
    /// Returns the executor itself.
    fn as_executor(&self) -> &dyn cellblock_exec::Executor;
}

impl<E: cellblock_exec::Executor> AsExecutor for E {
    fn as_executor(&self) -> &dyn cellblock_exec::Executor {
        self
    }
}

/// Makes a test of each case of the suite, with the executor that the expression returns; see the
/// [front page](crate).
#[macro_export]
macro_rules! conformance {
    ($executor:expr) => {
        $crate::conformance! { @cases $executor;
            output: streams_are_apart, exit_codes, exceptions_exit_with_1,
                syntax_errors_exit_with_1, os_exit_ends_only_the_block, unicode, invalid_utf8,
                ansi_escapes, empty_code, very_long_line, standard_input,
                output_arrives_while_it_runs, unsupported_language;
            state: state_across_blocks, an_exception_keeps_state, last_expression_is_echoed,
                file_names, sessions_are_isolated, randomness_differs, a_seed_is_kept,
                environment_is_fresh;
            limits: wall_stops_a_busy_loop, wall_stops_a_sleep, wall_cannot_be_caught,
                a_request_shortens_the_deadline, a_session_survives_a_timeout,
                cpu_stops_a_busy_loop, cpu_holds_after_writing_to_all_descriptors,
                memory_stops_a_hog, an_absurd_allocation_fails, long_output_is_shortened,
                an_output_flood_is_stopped, a_gigabyte_of_output_is_stopped, disk_is_limited,
                temporary_files_are_limited, sparse_files_are_limited, files_are_limited,
                a_hundred_thousand_files, a_limit_is_enforced_or_refused,
                a_zero_deadline_is_invalid, tiny_memory_is_refused, an_unknown_image_is_refused,
                usage_is_told;
            workspace: input_files, files_can_be_added_later, input_files_stay_inside, artifacts,
                artifacts_of_a_failure, host_files_are_out_of_reach, symlinks_are_no_artifacts,
                files_may_change_while_they_are_handed_out, oversized_artifacts,
                special_files_are_no_artifacts, unreadable_files, odd_names_are_refused,
                version_control_is_no_artifact, renamed_files_are_new, file_names_stay_inside,
                input_files_count_against_the_quota;
            hostile: deep_recursion, a_crash_ends_only_the_block, a_fork_bomb_is_contained,
                descriptors_are_bounded, absurd_paths_fail, sabotage_ends_with_the_session,
                expensive_calls_are_bounded;
            cancel: a_token_cancels, a_cancelled_token_runs_nothing, a_dropped_future_cancels,
                a_dropped_session_leaves_nothing, sessions_run_at_once;
            network: network_is_denied, network_can_be_granted, granted_connections_carry_data,
                a_download_may_be_closed_early, odd_rules_are_refused;
            languages: claimed_languages_run, languages_share_the_workspace,
                shell_blocks_keep_their_names, traps_for_later_blocks_catch_nothing,
                shells_are_limited;
            processes: nothing_survives, nobody_waits_for_a_process_that_holds_the_output,
                processes_are_limited, a_full_cell_keeps_its_session, other_processes_are_invisible,
                no_rights_are_gained, unix_sockets_are_out_of_reach,
                parallel_children_are_collected;
            host: functions_are_called, failures_are_raised, nothing_is_granted_by_default,
                state_stays, a_long_call_is_stopped, a_call_can_be_cancelled,
                calls_have_a_maximum_length, a_thousand_calls, threads_may_call,
                other_processes_may_not_call, sessions_do_not_mix, forged_calls_reach_nothing;
            fork: forks, forks_report_their_own_files, freeze_and_resume,
                install_is_claimed_or_refused;
            figures: shown_figures_are_files, open_figures_are_files, saved_figures_are_files;
        }
    };
    (@cases $executor:expr; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            use $crate::AsExecutor as _;
            $(#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let executor = $executor;
                $crate::$module::$case(executor.as_executor()).await;
            })+
        })+
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A case that the macro does not name would never run.
    #[test]
    fn every_case_is_named() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let macro_text = include_str!("lib.rs").split_whitespace().collect::<Vec<_>>().join(" ");
        let mut cases = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if module == "steps" {
                continue;
            }
            let list = macro_text
                .split_once(&format!(" {module}: "))
                .and_then(|(_, after)| after.split_once(';'));
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| line.ends_with("(executor: &dyn Executor) {")) {
                let Some(rest) = line.strip_prefix("pub async fn ") else { continue };
                let case = rest.split('(').next().unwrap();
                let (list, _) = list.unwrap_or_else(|| panic!("no list for the module {module}"));
                assert!(list.split(", ").any(|named| named == case), "{module}::{case}");
                cases += 1;
            }
        }
        assert!(cases > 50, "only {cases} cases were found");
    }
}
