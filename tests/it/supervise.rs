//! Supervision: every difference between a command and the same command under amb is a bug.
//!
//! The cases of the plan that these tests were written from, by its numbers:
//!
//! | Case | Test |
//! | --- | --- |
//! | 1 | `status::every_exit_status_comes_through` |
//! | 2 | `status::a_child_ended_by_a_signal_ends_amb_by_it` |
//! | 3 | `status::a_shell_sees_the_signal_as_of_the_bare_command` |
//! | 4 | `ending::as_the_first_process_a_signal_counts_as_128_and_its_number` |
//! | 5 | `status::a_command_that_is_not_found_is_127` |
//! | 6 | `status::a_command_that_cannot_be_executed_is_126` |
//! | 7 | `status::a_missing_interpreter_is_named` |
//! | 8 | `status::a_script_without_an_interpreter_line_runs_in_the_shell` |
//! | 9 | `status::a_mistake_in_usage_is_125_and_starts_nothing` |
//! | 9 | `status::a_port_that_is_taken_is_125_and_starts_nothing` |
//! | 10 | `status::arguments_come_through_byte_for_byte` |
//! | 11 | `signals::each_signal_is_passed_on_once_and_in_order` |
//! | 12 | `signals::a_trapped_signal_ends_as_the_child_decides` |
//! | 13 | `signals::a_child_that_ignores_sigterm_is_left_alone` |
//! | 14 | `signals::kill_after_kills_a_child_that_ignores_the_request` |
//! | 14 | `signals::further_requests_to_end_do_not_put_the_kill_off` |
//! | 15 | `signals::a_signal_during_the_start_is_never_lost` |
//! | 16 | `jobs::ctrl_c_reaches_the_child_once` |
//! | 17 | `jobs::ctrl_c_twice_reaches_the_child_twice` |
//! | 18 | `jobs::ctrl_backslash_reaches_the_child_once` |
//! | 19 | `jobs::a_new_window_size_is_told_once` |
//! | 20 | `jobs::ctrl_z_stops_the_job_and_fg_goes_on_with_it` |
//! | 21 | `jobs::a_transfer_goes_on_after_ctrl_z_and_fg` |
//! | 22 | `jobs::a_job_in_the_background_stops_when_it_reads_and_fg_goes_on_with_it` |
//! | 23 | `jobs::the_child_reads_the_terminal` |
//! | 24 | `jobs::a_pipeline_sibling_keeps_the_terminal` |
//! | 25 | `jobs::a_pager_at_the_end_of_a_pipe_reads_single_keys_and_leaves_the_terminal_as_it_was` |
//! | 26 | `jobs::a_shell_under_amb_has_job_control` |
//! | 27 | `jobs::ctrl_c_stops_a_loop_in_a_script` |
//! | 28 | `jobs::a_child_killed_while_it_has_the_foreground_does_not_stop_amb` |
//! | 29 | `jobs::a_summary_from_the_background_does_not_stop_amb` |
//! | 30 | `jobs::a_hangup_ends_the_child_once_and_amb_with_it` |
//! | 31 | `jobs::a_signal_from_elsewhere_is_passed_on_at_a_terminal_too` |
//! | 32 | `signals::a_signal_to_the_own_group_does_not_come_back` |
//! | 33 | `signals::a_child_that_signals_its_parent_is_not_hit_itself` |
//! | 34 | `signals::timeout_ends_amb_as_it_ends_the_bare_command` |
//! | 34 | `signals::a_signal_to_the_group_of_amb_reaches_a_child_of_another_group_once` |
//! | 35 | `ending::amb_killed_while_its_child_ignores_sigterm_takes_it_along_in_a_new_group` |
//! | 36 | `signals::a_killed_amb_takes_its_child_along` |
//! | 37 | `signals::a_child_outlives_the_threads_that_looked_names_up` |
//! | 38 | `failures::a_child_whose_amb_dies_before_it_is_told_does_not_start` |
//! | 39 | `ending::a_leftover_does_not_hold_amb_up_and_is_left_alone` |
//! | 40 | `ending::as_the_first_process_it_does_not_wait_for_leftovers` |
//! | 41 | `ending::as_the_first_process_it_reaps_orphans` |
//! | 42 | `ending::as_the_first_process_it_never_loses_the_status` |
//! | 43 | `wait::a_process_in_the_background_still_has_its_proxy` |
//! | 44 | `ending::a_leftover_in_its_own_session_is_not_signalled` |
//! | 45 | `inherited::ignored_and_blocked_signals_stay_so` |
//! | 46 | `inherited::a_clean_parent_makes_a_clean_child` |
//! | 47 | `inherited::nohup_survives_the_hangup` |
//! | 48 | `signals::signals_that_came_ignored_do_not_end_a_job_in_the_background` |
//! | 49 | `inherited::an_ignored_sigchld_does_not_lose_the_status` |
//! | 50 | `inherited::a_child_that_amb_did_not_start_does_not_confuse_it` |
//! | 51 | `inherited::open_files_are_the_same` |
//! | 52 | `inherited::closed_standard_streams_do_no_harm` |
//! | 53 | `inherited::a_broken_pipe_ends_the_child_as_without_amb` |
//! | 54 | `inherited::a_stderr_that_fails_does_not_change_the_status` |
//! | 54 | `inherited::amb_stuck_in_a_full_stderr_dies_of_the_second_request` |
//! | 55 | `inherited::much_data_passes_unharmed` |
//! | 56 | `status::amb_in_amb_in_amb_is_still_invisible` |
//! | 57 | `inherited::limits_and_the_like_are_the_same` |
//! | 58 | `inherited::the_environment_keeps_its_order_and_gains_only_documented_names` |
//! | 59 | `service::a_child_that_amb_may_not_signal_is_waited_for` |
//! | 60 | `ending::a_crash_leaves_the_core_files_that_the_bare_command_leaves` |
//! | 61 | `inherited::socket_activation_names_the_child` |
//! | 61 | `service::what_names_the_services_process_names_the_command` |
//! | 62 | `failures::a_panic_in_the_proxy_is_a_502_and_the_summary_says_so` |
//! | 63 | `failures::a_panic_of_the_supervisor_asks_the_child_to_end_and_is_125` |
//! | 63 | `failures::a_panic_of_the_supervisor_kills_a_child_that_does_not_end` |
//! | 64 | `status::a_deleted_working_directory_is_said` |
//! | 64 | `status::a_file_that_is_being_written_is_126` |
//! | 64 | `status::an_environment_beyond_what_the_kernel_takes_is_126` |
//! | 65 | `signals::a_storm_of_signals_around_the_end_changes_nothing` |
//! | 66 | `ending::as_the_first_process_a_signal_counts_as_128_and_its_number` |
//! | 67 | `service::systemd_takes_an_end_by_sigterm_for_a_clean_one` |
//! | 68 | `service::a_request_to_end_ends_the_drain` |

mod ending;
mod failures;
mod inherited;
mod jobs;
mod peers;
mod service;
mod signals;
mod status;
mod wait;

/// The two modes, each with the flags that choose it.
const MODES: [[&str; 2]; 2] = [["--process-group", "inherit"], ["--process-group", "new"]];
