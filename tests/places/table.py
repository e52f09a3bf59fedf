"""The rights that tests need (see places.rights), by file; places.classify makes it.

"*" is all others of the file. A test that is not here needs the rights of the machine's root.
"""

NEEDS: dict[str, dict[str, str]] = {
    "places/test_needed.py": {
        "": "*",
    },
    "places/test_packages.py": {
        "machine": "*",
    },
    "places/test_runner.py": {
        "": """
            test_garbage_that_parses_sources_does_not_end_the_run
        """,
        "machine": "*",
    },
    "places/test_worker.py": {
        "machine": "*",
    },
    "test_docs.py": {
        "": """
            test_each_argument_of_subprocess_is_on_the_page_for_those_who_know_it
            test_each_script_is_run_on_a_page
            test_links_lead_somewhere
            test_no_page_names_a_private_module
            test_the_fields_that_the_page_names_exist
        """,
        "namespaces proc": """
            test_code_on_a_page_is_that_of_a_script
            test_without_subordinate_ids_the_page_for_users_runs_as_well
        """,
        "machine": "*",
    },
    "test_c_style.py": {
        "": "*",
    },
    "test_floors.py": {
        "": "*",
    },
    "test_makefile.py": {
        "": "*",
    },
    "test_libcontainer/test_capabilities.py": {
        "": """
            test_a_mask_and_its_names
            test_names_are_those_of_the_kernel
        """,
        "ids namespaces": """
            test_ambient_ones_live_through_an_execve
            test_inherited_ones_go_with_the_rest
            test_sets_are_as_told_after_the_ids_have_changed
            test_the_bounding_set_keeps_no_more_than_it_is_told
            test_what_a_process_cannot_have_is_named
            test_without_the_right_to_drop_nothing_has_to_be
            test_without_the_right_to_drop_what_has_to_be_is_named
        """,
        "machine": "*",
    },
    "test_libcontainer/test_cgroups_devices.py": {
        "namespaces proc": """
            test_a_program_answers_as_its_rules_mean
            test_any_list_means_the_same
            test_every_pair_of_lists_is_reached_in_the_kernels_own_list
            test_v1_cannot_take_a_part_out_of_any
            test_v1_is_told_the_difference_alone
            test_what_v1_is_told
            test_what_v1_is_told_is_what_the_rules_mean
        """,
        "ids namespaces proc": """
            test_without_privileges_the_error_says_what_it_takes
        """,
        "machine": "*",
    },
    "test_libcontainer/test_cgroups_layout.py": {
        "": "*",
    },
    "test_libcontainer/test_cgroups_limits.py": {
        "": "*",
    },
    "test_libcontainer/test_cgroups_runc.py": {
        "machine": "*",
    },
    "test_libcontainer/test_cgroups_systemd.py": {
        "namespaces proc": """
            test_a_path_of_another_form_is_refused
            test_a_users_units_are_below_the_users_systemd
            test_a_value_without_quotes_is_refused
            test_all_devices
            test_devices_by_the_names_that_systemd_has_for_them
            test_idle_and_weight_are_one_to_systemd
            test_limits_that_systemd_knows
            test_the_name_of_a_unit_in_a_path
            test_the_path_of_a_slice
            test_the_real_busctl_takes_the_words
            test_values_of_annotations
            test_weights_of_devices_hide_that_of_all_from_nobody
            test_what_is_no_slice_is_refused
            test_whose_session_a_bus_is_of
        """,
        "ids namespaces proc": """
            test_slice_prefix_and_name
            test_where_systemd_does_not_run_the_error_says_so
            test_without_busctl_the_error_says_what_to_install
        """,
        "machine": "*",
    },
    "test_libcontainer/test_cgroups_v1.py": {
        "namespaces proc": """
            test_a_cgroup_that_is_not_below_and_a_controller_that_is_none_are_refused
            test_without_a_cgroup_there_is_no_state
        """,
        "ids namespaces proc": """
            test_a_cgroup_that_has_to_be_is_not_passed_over
            test_without_privileges_a_limit_is_refused
            test_without_privileges_there_is_none_and_nothing_is_missed
        """,
        "machine": "*",
    },
    "test_libcontainer/test_cgroups_v2_real.py": {
        "ids namespaces proc": """
            test_a_cgroup_that_has_to_be_is_not_passed_over
            test_without_a_delegated_cgroup_nothing_is_missed
        """,
        "machine": "*",
    },
    "test_libcontainer/test_container.py": {
        "namespaces proc": """
            test_an_init_that_waits_is_gone_when_it_is_given_up_or_its_parent_ends
            test_bad_configuration_makes_nothing
            test_half_made_container_is_listed_and_taken_away
            test_id_that_is_no_name_is_refused
            test_same_id_twice_is_refused
            test_what_cannot_be_listed_is_removed_by_its_names
        """,
        "machine": "*",
    },
    "test_libcontainer/test_hostile.py": {
        "machine": "*",
    },
    "test_libcontainer/test_keys.py": {
        "namespaces proc": """
            test_only_a_kernel_without_keyrings_is_passed_over
            test_who_comes_later_joins_the_same_ring
        """,
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_labels.py": {
        "": "*",
    },
    "test_libcontainer/test_netlink.py": {
        "": """
            test_a_datagram_that_was_cut_off_is_an_error
            test_a_dump_of_several_datagrams_is_read_to_its_end
            test_a_dump_that_fails_in_its_middle_is_no_short_list
            test_a_link_is_found_by_its_name
            test_a_list_that_changed_meanwhile_is_asked_for_again
            test_a_list_that_never_stops_changing_is_an_error
            test_an_address_is_written_as_others_read_it
            test_an_answer_to_another_question_says_nothing
            test_another_process_answers_nothing
            test_attributes_end_with_the_bytes
            test_messages_end_with_the_bytes
            test_one_that_is_not_there_is_named
            test_only_what_is_lasting_and_global_goes_along
            test_the_addresses_are_those_of_the_one_device
        """,
        "machine": "*",
    },
    "test_libcontainer/test_pyrunc_confinement.py": {
        "namespaces proc": """
            test_flags_that_the_kernel_does_not_have_are_told_before_a_filter_is_installed
        """,
        "ids namespaces proc": """
            test_a_limit_that_the_caller_may_not_raise_is_named
            test_a_listener_of_a_filter_that_allows_little
            test_a_small_limit_is_the_programs_alone
            test_a_small_limit_of_a_further_process
            test_all_limits_at_once_and_a_program_that_is_none
            test_as_few_descriptors_as_a_limit_leaves_are_no_limit_for_mounts
            test_no_memory_for_the_init_is_told_as_such
            test_what_the_filter_needs_the_program_does_not_get
            test_why_a_program_was_not_executed_is_told_behind_any_filter
        """,
        "machine": "*",
    },
    "test_libcontainer/test_pyrunc_errors.py": {
        "machine": """
            test_without_privileges_a_config_json_must_name_a_user_namespace
        """,
        "namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_imports.py": {
        "": "*",
    },
    "test_libcontainer/test_pyrunc_lifecycle.py": {
        "namespaces proc": """
            test_delete_force_takes_away_what_is_half_made
            test_features
            test_list_of_a_folder_that_is_not_there_is_empty
            test_spec_is_a_start_and_is_not_overwritten
            test_version
            test_what_is_to_be_kept_has_to_be_open
        """,
        "ids namespaces proc": """
            test_a_created_container_can_be_deleted
            test_a_created_container_is_stopped_by_what_would_stop_a_program
            test_a_signal_while_it_starts_takes_all_away
            test_an_id_is_taken_once
            test_annotations_are_told
            test_capabilities_that_are_none_are_told_of
            test_debug_tells_of_the_stages_in_their_order
            test_detached_terminals_need_a_socket_and_others_none
            test_events
            test_exec_of_a_process_object
            test_exec_options
            test_keep
            test_list
            test_list_leaves_out_what_is_broken_and_says_so
            test_nothing_but_containers_is_in_the_folder_of_their_state
            test_only_what_is_to_be_kept_is_kept
            test_orphans_are_reaped
            test_run_ends_as_its_process
            test_run_in_the_current_folder
            test_signals_are_passed_on
            test_sockets_for_another_process_are_not_taken
            test_sockets_of_systemd_come_first
            test_state_has_the_fields_of_runcs_in_their_order
            test_streams_are_the_callers
            test_the_master_goes_to_the_console_socket
            test_the_pidfd_goes_to_its_socket
            test_what_cannot_start_leaves_nothing
            test_what_spec_writes_runs
            test_what_update_refuses
        """,
        "machine": "*",
    },
    "test_libcontainer/test_pyrunc_mounts.py": {
        "machine": "*",
    },
    "test_libcontainer/test_pyrunc_notify.py": {
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_options.py": {
        "": "*",
    },
    "test_libcontainer/test_pyrunc_without_bundle.py": {
        "namespaces proc": """
            test_a_command_in_a_folder
            test_a_command_needs_a_rootfs_and_a_rootfs_no_bundle
            test_exec_finds_what_it_was_started_with
            test_it_is_read_only_unless_asked
            test_networks
            test_what_is_refused
            test_without_root_it_is_rootless
        """,
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_program.py": {
        "namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_state_root.py": {
        "namespaces proc": """
            test_a_containers_root_who_is_a_user_outside_has_a_users
            test_a_users_is_private_and_stays
            test_rootless
            test_rootless_is_one_of_three_words
            test_roots_is_the_systems
            test_what_is_given_is_made_absolute
            test_without_a_runtime_folder_it_is_in_tmp
        """,
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_terminal.py": {
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_pyrunc_units.py": {
        "": "*",
    },
    "test_libcontainer/test_pyrunc_prebooted.py": {
        "namespaces proc": """
            test_an_environment_of_any_size_is_taken
            test_it_ends_with_a_command_that_is_killed
            test_nobody_else_says_which_process_is_the_init
            test_one_that_was_not_needed_is_gone
            test_there_is_one_while_a_command_runs
        """,
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_rootfs.py": {
        "namespaces proc": """
            test_cgroup2_that_may_not_be_mounted_is_the_containers_own_bound
            test_cgroup2_that_may_not_be_mounted_is_the_hosts_bound
            test_in_a_user_namespace_the_nodes_of_the_host_are_bound
            test_sysfs_without_a_network_namespace_says_what_it_takes
        """,
        "ids namespaces proc": """
            test_a_bind_has_the_flags_it_is_given_and_no_others
            test_a_dev_that_is_bound_is_left_alone
            test_a_file_is_bound_on_a_file_that_is_made
            test_a_locked_flag_is_kept_where_nobody_asks_for_its_end
            test_a_locked_flag_that_is_to_go_is_an_error
            test_a_locked_part_is_not_bound_alone
            test_a_missing_source_is_named
            test_a_read_only_root_is_that_alone
            test_a_read_only_tmpfs_is_filled_first
            test_a_remount_changes_what_is_there
            test_a_sysctl_that_is_refused_is_named
            test_a_tmpfs_has_the_mode_of_what_it_covers_unless_told
            test_a_tree_of_the_parents_is_used
            test_an_overlay_may_have_more_layers_than_a_page_holds
            test_an_overlay_may_have_more_layers_than_an_option_of_fsconfig_holds
            test_an_unknown_file_system_is_named
            test_cgroup2_is_that_alone
            test_dev_has_its_nodes_and_links
            test_each_hierarchy_is_mounted_and_found_by_each_controller
            test_hooks_see_the_host_and_the_mounts
            test_masks_and_read_only_paths
            test_no_descriptor_of_the_root_is_left
            test_nothing_of_the_host_is_left_in_reach
            test_nothing_reaches_who_shares_the_mounts
            test_propagation_is_what_is_asked
            test_recursive_flags_reach_what_is_mounted_below
            test_sysctls_are_written_before_they_become_read_only
            test_tmpcopyup_copies_all_kinds_without_following
            test_what_a_file_system_says_is_in_the_error
            test_what_differs_from_runc_is_stricter
            test_with_a_cgroup_namespace_the_hierarchies_are_mounted_themselves
            test_without_a_mount_namespace_it_is_a_chroot
            test_without_pivot_root_the_hosts_proc_is_taken_off
        """,
        "machine": "*",
    },
    "test_libcontainer/test_rootfs_hostile.py": {
        "namespaces proc": """
            test_what_is_to_be_no_link_has_a_name
        """,
        "ids namespaces proc": """
            test_a_copy_of_links_is_links
            test_a_directory_of_the_host_is_no_working_directory
            test_a_file_is_made_where_a_dangling_link_leads_in_the_root
            test_a_file_is_no_place_for_proc
            test_a_folder_that_turns_into_a_link_leads_nowhere
            test_a_link_is_no_place_for_proc_or_sysfs
            test_a_linked_dev_is_a_folder_of_the_root
            test_a_mask_is_the_null_device_or_there_is_no_container
            test_a_masked_link_masks_what_it_leads_to_in_the_root
            test_a_mount_through_a_link_stays_inside
            test_a_proc_that_is_none_gets_no_sysctl
            test_a_sysctl_does_not_leave_proc_sys
            test_dots_behind_a_new_folder_end_at_the_root
            test_links_in_a_circle_are_an_error
            test_nothing_is_mounted_over_the_kernels_own_files
            test_numbers_of_the_container_may_stand_in_proc
            test_proc_is_mounted_on_a_folder_or_not_at_all
            test_proc_is_reached_by_no_link_either
            test_the_terminal_is_on_dev_console
            test_the_terminal_is_put_on_no_link
            test_tmpcopyup_of_a_link_is_of_what_it_leads_to_in_the_root
        """,
        "machine": "*",
    },
    "test_libcontainer/test_seccomp.py": {
        "namespaces proc": """
            test_a_condition_holds_for_its_values
            test_a_damaged_file_is_replaced
            test_a_flag_is_taken_by_the_kernel
            test_a_link_is_not_followed
            test_a_number_that_s390_has_no_room_for_is_not_there
            test_a_permissive_default_is_for_newer_ones_too
            test_a_policy_is_refused_by_name
            test_a_policy_that_the_kernel_would_refuse_for_its_length_is_named
            test_a_program_does_what_its_policy_says
            test_a_program_is_compiled_once
            test_an_action_is_what_the_kernel_does
            test_an_action_that_kills_does
            test_conditions_on_different_arguments_hold_together
            test_conditions_on_one_argument_are_alternatives
            test_newer_is_meant_per_architecture
            test_newer_is_meant_per_architecture_on_machines_that_we_do_not_have
            test_podmans_profile_allows_and_refuses
            test_the_number_of_files_has_a_bound
            test_the_rules_of_another_architecture_are_its_own
            test_what_is_newer_does_not_kill
            test_what_is_newer_than_a_policy_is_not_there
            test_what_others_can_write_is_not_trusted
            test_where_nothing_can_be_kept_a_program_is_compiled
            test_without_the_library_its_package_is_named
        """,
        "ids namespaces proc": "*",
    },
    "test_libcontainer/test_seccomp_notify.py": {
        "namespaces proc": "*",
    },
    "test_libcontainer/test_seccomp_runc.py": {
        "machine": "*",
    },
    "test_libcontainer/test_specconv.py": {
        "": "*",
    },
    "test_libcontainer/test_specconv_anything.py": {
        "": """
            test_any_file_is_taken_or_refused
            test_every_place_can_be_left_out_of_the_short_one
        """,
        "namespaces proc": "*",
    },
    "test_libcontainer/test_specconv_documents.py": {
        "": "*",
    },
    "test_libcontainer/test_specconv_mounts.py": {
        "": "*",
    },
    "test_libcontainer/test_specconv_refusals.py": {
        "": "*",
    },
    "test_libcontainer/test_specconv_resources.py": {
        "": "*",
    },
    "test_libcontainer/test_specconv_spelling.py": {
        "machine": "*",
    },
    "test_libcontainer/test_state.py": {
        "machine": "*",
    },
    "test_libcontainer/test_survival.py": {
        "namespaces proc": """
            test_sudden_death_at_any_moment_leaves_nothing_behind_delete
        """,
        "machine": "*",
    },
    "test_libcontainer/test_sync.py": {
        "": "*",
    },
    "test_libcontainer/test_validate.py": {
        "namespaces proc": """
            test_a_label_takes_the_module_that_reads_it
            test_a_sysctl_of_the_whole_machine_is_refused
            test_a_sysctl_takes_the_namespace_it_is_of
            test_it_is_refused_by_its_place
            test_it_is_taken
            test_swap_alone_is_nothing_on_v2
            test_the_hostname_is_set_by_its_own_field
            test_unified_is_for_v2
            test_what_runc_refuses_is_refused
        """,
        "ids namespaces proc": """
            test_a_sysctl_of_a_joined_namespace_is_not_the_host_s
            test_what_they_are_made_of_runs
        """,
        "machine": "*",
    },
    "test_man_pages.py": {
        "": "*",
    },
    "test_mutants.py": {
        "": "*",
    },
    "test_nsenter/test_asyncio.py": {
        "ids namespaces proc": """
            test_a_command_of_the_shell
            test_another_joins_its_namespaces
            test_it_is_in_the_namespaces_of_its_options
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_bootstrap.py": {
        "": """
            test_a_bad_id_map_is_refused
            test_a_lone_gid_that_is_ones_own_does_not_ask_for_setgroups
            test_a_mapping_tool_is_an_absolute_path
            test_a_mapping_tool_over_the_u16_limit_is_refused
            test_a_path_that_cannot_be_sent_is_refused_by_its_name
            test_a_score_out_of_range_is_refused
            test_a_score_that_is_not_canonical_is_refused
            test_a_value_over_the_u16_limit_is_refused_before_a_byte_is_written
            test_an_empty_message_asks_for_nothing
            test_an_id_map_has_at_most_340_lines
            test_an_id_map_is_shorter_than_a_page
            test_bad_time_offsets_are_refused
            test_bootstrap_data_refuses_a_bad_path_by_its_name
            test_a_path_of_a_namespace_in_a_message_is_absolute
            test_bytes_behind_the_end_of_the_message_are_refused
            test_captured_from_runc_is_decoded_and_encoded_to_the_byte
            test_every_truncation_of_a_message_is_refused
            test_golden
            test_malformed_is_refused_with_attribute_and_offset
            test_no_mappings_for_a_user_namespace_that_is_joined
            test_no_offsets_for_a_time_namespace_that_is_joined
            test_no_setgroups_without_gid_mappings
            test_no_tools_without_mappings
            test_offsets_go_with_a_new_time_namespace
            test_only_what_is_not_joined_is_created
            test_padding_is_required_and_its_contents_are_not_looked_at
            test_paths_are_in_runcs_order_whatever_the_config_says
            test_raw_attributes_survive_the_round_trip
            test_root_writes_its_mappings_itself
            test_rootless_is_by_default_what_the_caller_is
            test_rootless_mappings_are_written_by_the_tools_on_path
            test_setgroups_stays_allowed_for_root_and_the_tools
            test_the_offset_points_into_the_attribute_at_fault
            test_the_score_is_passed_on
            test_the_whole_of_the_ids_can_be_mapped
            test_time_offsets_need_a_new_time_namespace
            test_tools_that_are_not_on_path_are_not_named
            test_unknown_and_double_attributes_are_refused_at_the_raw_level_too
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_module_archive.py": {
        "": """
            test_a_bundle_is_made_once
            test_a_bundle_is_not_inherited
            test_a_bundle_is_sealed_whole
            test_a_bundle_is_what_its_file_holds
            test_a_missing_module_is_an_attribute_of_the_error_too
            test_a_module_that_is_there_the_second_time_is_found
            test_a_mutated_bundle_is_refused_or_boots
            test_a_target_whose_loader_has_no_code_is_refused_by_name
            test_a_traceback_through_its_code_has_no_line_to_look_for
            test_an_extension_that_is_none_is_refused_by_name
            test_code_travels_as_it_was_but_for_its_file_names
            test_finding_modules_imports_none
            test_no_code_has_a_file_name_that_could_be_opened
            test_nobody_can_change_a_bundle
            test_packages_are_told_from_modules
            test_the_tables_are_those_of_this_python
            test_threads_that_ask_at_once_get_the_same_bundle
            test_what_cannot_travel_is_refused_by_name
            test_what_the_boot_needs_is_in_every_bundle
            test_what_travels
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_by_value.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_call.py": {
        "namespaces proc": """
            test_a_bomb_explodes_for_who_trusts_it
            test_a_builtin_exception_comes_with_its_traceback
            test_a_call_that_takes_too_long_is_killed
            test_a_child_that_keeps_the_channel_hides_no_end
            test_a_fork_inside_gets_no_modules
            test_a_fork_inside_imports_from_files
            test_a_function_travels
            test_a_package_comes_that_this_process_has_not_imported
            test_a_scripts_own_functions_travel
            test_a_signal_is_told
            test_a_timeout_of_the_functions_own_has_a_cause
            test_a_traceback_gives_the_terminal_no_orders
            test_a_value_that_is_not_plain_is_named
            test_an_enemy_that_closes_the_channel_is_told
            test_an_enemy_that_drips_is_out_of_time
            test_an_enemy_that_ends_in_the_middle_is_told
            test_an_enemy_that_never_ends_is_stopped
            test_an_enemys_answer_is_refused
            test_an_exception_of_an_enemy_is_only_told
            test_an_exit_status_is_told
            test_an_extension_comes_once_it_was_imported_here
            test_an_extension_that_is_not_along_is_named
            test_an_interrupted_call_leaves_nothing
            test_an_oserror_comes_whole
            test_an_unprivileged_user_can_call
            test_another_exception_is_told_by_its_name
            test_arguments_come_back
            test_asking_executes_nothing_here
            test_bad_settings_are_refused
            test_by_default_every_namespace_is_new
            test_extensions_come_with_the_modules_that_import_them
            test_from_many_threads_at_once
            test_it_runs_where_the_options_say
            test_keywords_reach_the_function_whatever_they_are_called
            test_large_values_go_in_and_come_back_where_it_is_allowed
            test_modules_can_be_kept_back
            test_modules_come_when_they_are_imported
            test_names_of_an_enemy_find_no_more_than_modules
            test_no_memory_is_a_memory_error
            test_nor_does_an_exception_that_nobody_catches
            test_numpy_works_in_a_root_without_files
            test_objects_of_importable_classes_go_in
            test_one_that_cannot_be_told_is_told_by_its_name
            test_only_the_streams_and_the_channel_are_open_inside
            test_the_environment_is_what_is_given
            test_the_number_and_length_of_requests_is_bounded
            test_the_package_has_the_names
            test_the_whole_chain_is_told
            test_values_of_every_plain_kind_go_in_and_come_back
            test_what_cannot_travel_is_named_before_anything_starts
            test_what_it_prints_can_go_nowhere
            test_what_it_prints_goes_to_the_callers_streams
            test_what_it_prints_goes_where_it_is_told
            test_what_would_end_the_caller_or_its_generator_is_told_instead
            test_whatever_is_told_becomes_an_exception_that_can_be_shown
        """,
        "machine": "*",
    },
    "test_nsenter/test_call_values.py": {
        "namespaces proc": """
            test_a_function_whose_call_gives_no_value_is_refused_at_once
            test_chunks_of_map_are_calls
            test_no_output_and_our_own
            test_the_output_of_a_call_goes_into_a_file
            test_the_refusal_of_an_answer_says_how_to_trust
            test_they_all_come_back_from_a_call
        """,
        "": "*",
    },
    "test_nsenter/test_callers.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_commands.py": {
        "namespaces proc": """
            test_a_command_has_a_terminal_of_its_own_and_what_is_typed_reaches_it
            test_a_command_imports_no_other_and_no_argparse
            test_a_command_that_dies_with_its_parent_does
            test_a_filter_is_read_from_a_file
            test_a_killed_command_is_128_and_the_signal
            test_a_program_that_cannot_be_executed_is_126
            test_a_program_that_is_not_there_is_127
            test_a_python_init_reaps_what_is_left_to_it
            test_a_signal_that_comes_before_the_start_reaches_the_child
            test_a_start_that_hangs_is_ended_by_the_second_request
            test_a_trace_is_drawn_into_a_file
            test_a_trace_is_told_on_stderr_and_the_output_is_the_commands
            test_a_value_that_is_missing_is_said
            test_all_is_every_kind
            test_an_output_that_cannot_be_written_to_is_named
            test_an_unknown_type_is_a_mistake_in_usage
            test_decode_explains_each_attribute
            test_decode_says_what_is_wrong_with_a_bad_message
            test_each_command_tells_of_itself_and_of_no_line_that_is_too_long
            test_each_option_of_run_is_in_its_help_once
            test_encode_names_what_is_wrong_with_a_document
            test_json_goes_through_a_message_and_comes_back
            test_letters_stand_together
            test_map_auto_without_subordinate_ids_says_what_to_do
            test_much_output_and_input_at_once_pass_a_terminal
            test_stub_becomes_nsinit
            test_the_commands_are_listed
            test_the_exit_status_does_not_depend_on_the_streams
            test_the_terminal_has_the_size_of_ours_and_our_keys_are_its_signals
            test_types_lists_all_eight
            test_what_cannot_be_done_is_said_and_is_125
            test_without_a_command_a_user_is_shown_around
            test_without_a_command_root_is_shown_around
        """,
        "ids namespaces proc": """
            test_a_file_is_joined_and_what_bwrap_spells_is_new_beside_a_target
            test_a_network_is_joined_by_the_name_that_ip_netns_knows
            test_a_signal_is_passed_on_and_a_second_request_kills
            test_a_target_is_joined_whole_or_the_kinds_that_are_named
            test_all_namespaces_of_a_process_are_joined
            test_an_option_is_read_back_from_inside
            test_each_kind_is_new_in_each_spelling
            test_the_commands_own_options_are_its_own
            test_the_exit_status_is_the_commands
            test_what_holds_a_terminal_open_does_not_hold_the_command
            test_what_is_given_and_denied_is_read_back_from_inside
        """,
        "machine": "*",
    },
    "test_nsenter/test_direct.py": {
        "ids namespaces": """
            test_a_caller_that_is_not_dumpable_stays_so
            test_a_user_goes_direct_with_its_own_ids_alone
            test_a_user_is_as_before_when_its_child_has_gone
            test_a_user_is_told_the_same_when_it_fails
        """,
        "namespaces proc": """
            test_a_failed_launch_reaps_its_child_whatever_signal_comes
            test_a_payload_has_nothing_of_its_peculiar_caller
            test_ids_that_are_not_all_the_same_take_the_stages
            test_root_is_as_before_when_its_child_has_gone
            test_root_is_told_the_same_when_it_fails
            test_root_without_capabilities_gets_the_same_either_way
            test_roots_program_cannot_tell_which_way_it_came
            test_the_caller_does_not_become_dumpable_or_stop_being_it
            test_the_snapshot_sees_what_a_launch_does
            test_threads_signals_and_many_direct_launches_do_not_disturb_each_other
        """,
        "ids namespaces proc": """
            test_a_users_program_cannot_tell_which_way_it_came
        """,
        "machine": "*",
    },
    "test_nsenter/test_docstring_examples.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_doctor.py": {
        "": """
            test_the_profile_of_apparmor_is_for_the_file_that_a_link_leads_to
        """,
        "namespaces proc": """
            test_a_limit_of_zero_is_found_and_so_are_the_starts_that_it_breaks
            test_a_probe_that_cannot_run_at_all_is_no_end_of_the_doctor
            test_few_processes_left_are_found
            test_for_people_each_problem_has_what_it_means_and_what_to_do_below_it
            test_inside_bubblewrap_an_ordinary_user_is_well_but_for_what_it_takes_away
            test_nothing_is_left_of_what_was_tried
            test_root_is_well_and_each_kind_was_tried
            test_tools_that_are_not_on_path_are_found
        """,
        "ids namespaces proc": """
            test_a_filter_that_kills_does_not_kill_the_doctor
            test_a_filter_that_refuses_is_found_by_the_calls_that_it_refuses
            test_a_proc_that_is_partly_covered_is_found_and_named_by_an_error
            test_a_sysctl_in_the_way_is_found_with_the_command_that_sets_it
            test_an_error_behind_a_filter_names_the_filter
            test_no_new_privs_is_found_for_who_needs_a_mapping_tool
        """,
        "machine": "*",
    },
    "test_nsenter/test_enemy_root.py": {
        "machine": "*",
    },
    "test_nsenter/test_executor.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_preload.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_preload_faults.py": {
        "machine": """
            test_rights_that_the_caller_has_given_up_are_not_in_its_calls
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_os_errors.py": {
        "": "*",
    },
    "test_nsenter/test_faults.py": {
        "machine": "*",
    },
    "test_nsenter/test_hints.py": {
        "": """
            test_a_hint_is_that_of_the_machine_where_it_failed
            test_each_fact_is_told_by_an_error_or_by_the_doctor
            test_each_fact_says_what_it_means_and_what_to_do_once
            test_each_row_says_something_and_stands_once
            test_the_table_costs_a_start_nothing
            test_what_nothing_is_known_about_has_no_hint
        """,
        "namespaces proc": """
            test_a_limit_is_named_only_for_the_kinds_that_were_asked_for
        """,
        "ids namespaces": """
            test_a_user_who_asks_for_a_namespace_alone_is_told_what_it_takes
            test_apparmors_restriction_is_named_wherever_it_strikes
        """,
        "ids namespaces proc": "*",
    },
    "test_nsenter/test_idmap.py": {
        "machine": """
            test_the_command_of_the_advice_works
        """,
        "": "*",
    },
    "test_nsenter/test_inspect.py": {
        "namespaces proc": """
            test_a_process_that_is_not_there_is_an_error
            test_a_reader_that_has_seen_enough_is_no_error
            test_a_tree_of_one_type_shows_the_owners_that_lead_to_it
            test_a_user_namespace_has_its_creator_and_its_parent_without_a_process
            test_a_zombie_has_what_the_kernel_still_tells
            test_no_descriptor_is_left_open
            test_processes_that_end_meanwhile_are_left_out
            test_the_kernel_and_lsns_say_the_same
            test_the_tree_has_each_namespace_below_its_owner
            test_types_are_filtered_and_may_be_spelled_in_any_way
            test_what_cannot_be_listed_is_said
        """,
        "ids namespaces proc": "*",
    },
    "test_nsenter/test_error_messages.py": {
        "": "*",
    },
    "test_nsenter/test_extensions.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_import_packages.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_imports.py": {
        "": """
            test_a_bad_word_is_refused
            test_a_place_is_known_by_its_device_and_inode
        """,
        "machine": """
            test_a_root_that_is_joined_is_somebody_elses
            test_nor_where_it_lies_among_the_systems_files
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_join.py": {
        "namespaces proc": """
            test_a_descriptor_that_is_not_open_is_named
            test_a_namespace_whose_processes_have_ended_can_be_joined_by_its_descriptor
            test_a_user_is_told_to_join_the_user_namespace_as_well
            test_the_owner_of_a_user_namespace_is_in_it_and_in_its_own
        """,
        "machine": "*",
    },
    "test_nsenter/test_leftovers.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_launch.py": {
        "namespaces proc": """
            test_a_bad_argument_is_refused_and_nothing_is_started
            test_a_caller_may_have_its_own_streams_closed
            test_a_child_is_signalled_and_waited_for
            test_a_failure_names_stage_operation_subject_and_errno
            test_a_module_without_a_function_is_run_as_main
            test_a_name_like_one_of_ours_can_stand_in_the_environment_of_a_program
            test_a_process_sees_itself_and_no_other_in_a_new_proc
            test_a_process_that_has_ended_cannot_be_joined
            test_a_program_has_no_channel
            test_a_signal_that_ends_it_is_a_negative_returncode
            test_a_start_that_hangs_is_ended_at_its_time
            test_a_target_may_import_nothing_at_all
            test_a_trace_tells_when_each_stage_came_where
            test_a_user_without_subordinate_ids_gets_what_it_asks_for
            test_extensions_and_modules_travel_when_they_are_named
            test_its_arguments_are_plain_data
            test_its_channel_works_both_ways
            test_nothing_of_the_boot_is_left_in_the_interpreter
            test_signals_are_as_for_a_new_program
            test_stdout_and_stderr_can_be_swapped
            test_the_callers_own_maps_are_made_by_name
            test_the_descriptors_passed_and_no_others_are_inherited
            test_the_exit_status_is_the_payloads
            test_what_does_not_travel_cannot_be_imported_later
            test_without_a_trace_asked_for_there_is_none
            test_without_an_environment_given_it_is_the_callers
        """,
        "ids namespaces proc": """
            test_a_user_is_told_to_create_a_user_namespace_as_well
            test_a_user_is_told_what_is_refused
        """,
        "machine": "*",
    },
    "test_nsenter/test_malformed_stub.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_namespaces.py": {
        "": "*",
    },
    "test_nsenter/test_options.py": {
        "": """
            test_each_field_is_in_the_table_of_the_launch_message
        """,
        "namespaces proc": """
            test_a_bad_value_is_refused_when_the_options_are_made
            test_a_capability_that_the_caller_lacks_is_named
            test_a_fork_of_the_caller_has_a_lasting_thread_of_its_own
            test_a_program_that_its_filter_kills_is_told_as_killed
            test_a_thread_is_no_process_to_join
            test_a_thread_that_ends_does_not_take_its_child_along
            test_a_user_without_the_right_is_told_what_it_takes
            test_a_value_of_another_type_is_refused_when_the_options_are_made
            test_an_empty_landlock_leaves_nothing
            test_an_init_that_waited_gives_up_the_same
            test_it_dies_with_the_process_that_started_it
            test_landlock_leaves_what_its_rules_say_and_nothing_else
            test_maps_of_an_unknown_word_are_refused
            test_options_are_used_more_than_once_though_they_were_given_iterators
            test_root_gets_what_the_options_say
            test_what_a_field_needs_is_said_before_anything_starts
            test_what_fails_before_a_pythons_first_line_is_named
            test_what_fails_inside_is_named
            test_what_fails_on_the_lasting_thread_is_raised_on_the_callers
            test_what_is_given_up_is_given_up_once_whatever_the_payload_says
            test_who_cannot_drop_the_callers_groups_does_not_become_another_user_with_them
            test_who_ends_while_looked_at_is_not_taken_for_who_has_its_number_then
        """,
        "machine": "*",
    },
    "test_nsenter/test_options_init.py": {
        "namespaces proc": """
            test_a_killed_init_is_told_as_killed_and_takes_all_along
            test_a_minimal_dev_has_it_as_console
            test_a_program_that_sends_bytes_down_every_descriptor_changes_no_verdict
            test_a_python_init_has_one_as_well
            test_a_signal_is_sent_on_to_the_program
            test_a_signal_without_a_handler_kills_the_program_as_it_would_alone
            test_a_start_that_fails_leaves_no_terminal_and_no_verdict_open
            test_a_stream_that_the_program_closes_is_closed
            test_its_interrupt_key_interrupts_the_program
            test_its_session_is_not_the_inits
            test_its_size_is_set_from_outside
            test_its_user_owns_the_terminal
            test_orphans_are_reaped
            test_the_program_cannot_look_into_its_init
            test_the_programs_exit_status_is_told
            test_the_signal_that_killed_the_program_is_told
            test_the_three_streams_are_a_controlling_terminal
            test_what_the_program_leaves_ends_with_it
        """,
        "ids namespaces proc": "*",
    },
    "test_nsenter/test_options_root.py": {
        "namespaces proc": """
            test_a_bind_is_of_the_tree_that_the_caller_has
            test_a_file_is_bound_to_a_file_that_is_made_for_it
            test_a_directory_of_the_callers_is_no_working_directory
            test_a_folder_becomes_the_root
            test_a_link_in_the_root_leads_a_mount_nowhere_else
            test_a_link_inside_the_root_is_followed_inside
            test_a_minimal_dev_works
            test_a_poisoned_bind_over_the_callers_python_has_no_say_in_the_boot
            test_a_poisoned_root_has_no_say_in_the_boot
            test_a_pty_can_be_opened_in_a_minimal_dev
            test_a_python_init_gives_up_its_rights_in_its_root
            test_a_python_init_is_in_its_root_with_nothing_of_python_there
            test_a_read_only_root_takes_nothing_and_has_mount_points_still
            test_a_root_that_changes_all_the_time_gets_a_mount_out_of_it_no_time
            test_a_tmpfs_has_its_size_and_mode
            test_a_user_has_a_root_of_its_own_as_well
            test_a_writable_root_is_written_through
            test_all_mounts_of_a_root_are_nosuid_and_nodev
            test_an_empty_root_has_what_is_mounted_and_nothing_else
            test_binds_are_read_only_unless_they_are_to_be_written
            test_device_files_can_be_opened_where_that_was_said
            test_every_python_has_given_up_what_it_is_to_by_its_first_line
            test_later_mounts_go_over_and_into_earlier_ones
            test_nothing_is_made_in_what_is_bound_to_be_read
            test_nothing_of_the_old_root_is_left_in_sight
            test_the_hosts_root_can_be_ones_own_and_read_only
            test_what_is_mounted_in_the_folder_comes_along_and_is_read_only_too
            test_without_a_root_mounts_go_over_the_callers_tree_and_nothing_is_made
        """,
        "machine": "*",
    },
    "test_nsenter/test_package.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_any_parent.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_safe_data.py": {
        "": """
            test_a_length_that_lies_costs_nothing
            test_a_nan_comes_back_with_its_sign
            test_any_bytes_are_a_value_or_refused
            test_bytes_that_were_changed_are_a_value_or_refused
            test_decoding_ends_at_its_deadline
            test_deep_nesting_is_refused_before_the_stack_ends
            test_honest_keys_of_one_hash_are_taken
            test_keys_that_are_made_to_collide_are_refused_at_once
            test_little_that_becomes_much_is_refused
            test_more_than_is_allowed_is_not_written
            test_no_arithmetic_is_done_with_large_numbers
            test_other_formats_are_refused
            test_paths_of_many_names_are_refused
            test_the_ends_of_the_ranges_come_back
            test_what_encode_does_not_write_is_refused
            test_what_is_in_itself_is_refused
            test_what_is_not_plain_is_named_with_its_place
            test_what_is_plain_comes_back
            test_what_would_not_be_read_is_not_written
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_json_text.py": {
        "": "*",
    },
    "test_nsenter/test_safe_arrays.py": {
        "namespaces proc": """
            test_a_million_numbers_come_back
        """,
        "": "*",
    },
    "test_nsenter/test_popen.py": {
        "ids namespaces proc": """
            test_another_joins_its_namespaces
            test_it_is_in_the_namespaces_of_its_options
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_popen_errors.py": {
        "ids namespaces proc": """
            test_what_a_user_may_not_do_is_a_permission_error
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_presets.py": {
        "namespaces proc": """
            test_300_sandboxes_leave_nothing
            test_32_threads_start_sandboxes_at_once
            test_a_bad_policy_is_refused
            test_a_field_of_a_preset_can_be_another
            test_a_policy_allows_what_it_names_and_no_more
            test_a_policy_denies_what_it_names_and_no_more
            test_a_policy_that_kills_kills
            test_a_sandbox_is_started_in_a_container_of_ours
            test_a_sandbox_of_a_user_runs_python_as_that_user
            test_a_sandbox_of_root_runs_python_as_nobody
            test_a_sandbox_reads_and_writes_what_it_is_given
            test_a_sandbox_runs_a_python_init_as_well
            test_a_single_path_is_not_taken_for_many
            test_no_namespace_is_made_by_clone
            test_no_words_are_put_into_a_terminal
            test_offline_there_is_a_loopback_and_nothing_else_is_different
            test_the_numbers_of_x32_are_not_there
            test_the_system_calls_of_32_bits_are_not_there
            test_the_tmp_of_a_sandbox_holds_what_it_may
            test_what_the_filter_denies_fails_at_once
            test_who_is_nobody_inside_is_nobody_outside
            test_without_the_filter_not_all_of_it_fails_so
        """,
        "machine": "*",
    },
    "test_nsenter/test_procfs.py": {
        "ids namespaces proc": "*",
    },
    "test_nsenter/test_run.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_command.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_verdicts.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_root.py": {
        "": """
            test_a_missing_directory_is_named
            test_a_missing_image_is_named
            test_a_missing_program_is_named
            test_variables_that_are_none_are_refused
            test_what_is_a_name_and_what_is_a_directory
        """,
        "machine": """
            test_a_cache_of_another_user_is_refused
            test_a_workspace_lies_in_an_image
            test_all_of_this_works_for_an_ordinary_user
            test_the_size_of_the_changes_is_limited
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_workspace_hostile.py": {
        "": """
            test_a_lease_does_not_hold_up_a_reader
            test_a_name_that_is_swapped_all_the_time_gives_honest_content_or_an_error
        """,
        "machine": "*",
    },
    "test_nsenter/test_sandbox_workspace.py": {
        "": """
            test_a_bad_argument_is_refused
            test_a_missing_directory_is_named
            test_a_path_that_is_not_in_it_is_refused
            test_an_unsafe_file_travels
            test_without_an_overlay_there_are_no_changes
        """,
        "machine": "*",
    },
    "test_nsenter/test_sandbox_ladder.py": {
        "": """
            test_another_word_is_refused
            test_the_filter_fits_into_the_kernel
            test_what_requires_namespaces_is_refused
        """,
        "machine": "*",
    },
    "test_nsenter/test_sandbox_explain.py": {
        "": """
            test_a_filter_answers_here_as_in_the_kernel
        """,
        "machine": """
            test_an_ordinary_user_gets_an_explanation
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_egress.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_egress_attacks.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_egress_ends.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_sandbox_egress_hello.py": {
        "": "*",
    },
    "test_nsenter/test_sandbox_egress_http.py": {
        "": "*",
    },
    "test_nsenter/test_sandbox_egress_rules.py": {
        "": "*",
    },
    "test_nsenter/test_sandbox_pasta.py": {
        "": """
            test_ports
            test_ports_are_strings
            test_ports_that_are_none_are_named
            test_the_callers_ports_are_numbers
            test_without_pasta_the_error_says_what_to_install
        """,
        "machine": """
            test_a_function_has_the_network
            test_a_network_of_its_own_is_required
            test_ports_are_forwarded
            test_what_is_reached
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_show_around.py": {
        "namespaces proc": """
            test_a_hostname_that_is_refused_is_left_out
            test_a_proc_that_is_refused_is_left_out
            test_where_no_more_namespaces_are_allowed_it_names_the_setting
        """,
        "ids namespaces proc": "*",
    },
    "test_nsenter/test_takeover.py": {
        "namespaces proc": """
            test_a_libpython_is_found_as_the_caller_found_it
            test_a_missing_extension_is_refused_by_name
            test_a_missing_function_is_refused_by_name
            test_a_missing_module_is_refused_by_name
            test_a_module_runs_as_main
            test_a_module_that_did_not_travel_is_missed_by_name
            test_a_target_needs_no_module_of_the_launchers_own
            test_a_thread_that_is_cut_off_loads_no_unwinder_of_the_root
            test_a_traceback_opens_no_file_of_the_root
            test_an_extension_that_cannot_be_loaded_is_refused_by_name
            test_an_extension_that_is_built_in_can_be_asked_for
            test_an_extension_that_starts_threads_is_refused_by_name
            test_extensions_work_in_a_root
            test_importing_an_extension_opens_no_file
            test_modules_come_from_memory_alone
            test_no_name_service_of_the_root_is_loaded
            test_no_path_of_the_new_root_is_opened_before_the_inits_first_line
            test_nothing_of_a_poisoned_root_runs
            test_nothing_of_the_boot_is_to_be_seen_from_outside
            test_the_init_has_the_environment_that_it_was_given_alone
            test_the_init_runs_in_a_root
            test_the_poison_works
            test_the_running_python_and_debians_are_tried
            test_the_shim_is_loaded_from_any_folder
            test_the_words_are_the_targets
        """,
        "machine": "*",
    },
    "test_nsenter/test_threads.py": {
        "ids namespaces proc": """
            test_one_is_started_inside_another_five_deep
        """,
        "namespaces proc": "*",
    },
    "test_nsenter/test_typing_hints.py": {
        "": "*",
    },
    "test_nsenter/test_cleanup.py": {
        "": "*",
    },
    "test_nsenter/test_records.py": {
        "": "*",
    },
    "test_nsenter/test_prebooted.py": {
        "namespaces proc": "*",
    },
    "test_nsenter/test_trace.py": {
        "": """
            test_a_bar_starts_where_its_stage_last_was
            test_a_title_is_text_whatever_is_in_it
            test_nothing_of_the_drawing_overlaps_or_leaves_it
            test_the_drawing_has_a_labelled_bar_for_each_to_scale
            test_the_order_of_the_points_does_not_matter
            test_the_text_has_a_line_for_each_and_a_bar_to_scale
            test_without_points_there_is_nothing_to_draw
        """,
        "namespaces proc": "*",
    },
    "test_processes.py": {
        "": "*",
    },
    "test_sweeps.py": {
        "": "*",
    },
}
