//! The suite that every engine passes. An engine's own tests call [`run_all`] with a way to make a fresh, empty store;
//! each case is a function of its own as well, to be run alone when one fails.
//!
//! A case takes a store and says in words what it found wrong. It leaves things behind in the store.

pub mod aliases;
pub mod batches;
pub mod concurrency;
pub mod due;
pub mod events;
pub mod instances;
pub mod keys;
pub mod lists;
pub mod migrations;
pub mod registrations;
pub mod rings;
pub mod samples;
pub mod settings;
pub mod tenants;
pub mod versions;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use keygate_core::store::{KeyStore, StoreError};

/// What a case found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { detail: format!("the store failed where it should not: {error}") }
    }
}

/// What a case says.
pub type Verdict = Result<(), Failure>;

/// Fails the case unless two things are equal.
macro_rules! same {
    ($found:expr, $wanted:expr, $($what:tt)+) => {
        match (&$found, &$wanted) {
            (found, wanted) => {
                if found != wanted {
                    let detail = format!("{}: found {found:?}, wanted {wanted:?}", format_args!($($what)+));
                    return Err($crate::conformance::Failure { detail });
                }
            }
        }
    };
}
pub(crate) use same;

macro_rules! suite {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        /// The names of all cases.
        pub const CASES: &[&str] = &[$(concat!(stringify!($module), "::", stringify!($case))),+];

        /// Runs every case, each on a store of its own from `make`, to the end of the suite.
        ///
        /// # Errors
        /// With the name and the finding of every case that failed, a line each.
        pub async fn run_all<F, Fut>(make: F) -> Verdict
        where
            F: Fn() -> Fut,
            Fut: Future<Output = Arc<dyn KeyStore>>,
        {
            let mut failed = Vec::new();
            $(
                if let Err(failure) = $module::$case(make().await).await {
                    failed.push(format!(concat!(stringify!($module), "::", stringify!($case), ": {}"), failure));
                }
            )+
            if failed.is_empty() { Ok(()) } else { Err(Failure { detail: failed.join("\n") }) }
        }
    };
}

suite! {
    keys::an_inserted_key_is_read_back_field_by_field,
    keys::what_is_not_there_is_none,
    keys::an_id_is_inserted_once,
    keys::a_first_revision_is_1,
    keys::an_update_needs_the_revision_before,
    keys::a_removed_key_is_gone_with_all_it_had,
    keys::a_removal_needs_the_revision,
    keys::large_values_come_back_whole,
    keys::a_check_of_a_working_store_passes,
    aliases::an_alias_leads_to_its_key,
    aliases::an_alias_has_one_key,
    aliases::an_update_frees_what_it_leaves_out,
    aliases::an_alias_moves_within_a_batch_when_it_is_freed_first,
    aliases::aliases_differ_in_case,
    instances::instances_do_not_see_each_other,
    instances::a_removal_stays_in_its_instance,
    batches::a_refused_batch_leaves_no_trace,
    batches::a_batch_whose_alias_is_taken_leaves_no_trace,
    batches::changes_build_on_those_before_them,
    batches::a_key_is_made_changed_and_removed_in_one_batch,
    batches::an_empty_batch_is_done,
    versions::versions_are_found_by_id,
    versions::versions_come_newest_first_in_pages,
    versions::versions_are_not_inserted_twice,
    versions::versions_need_a_key,
    versions::a_version_is_compared_and_moved,
    versions::a_move_leaves_its_key_alone_and_stops_at_a_purge,
    migrations::ids_come_in_order_after_one,
    migrations::a_migration_is_compared,
    migrations::what_stayed_is_found_by_key_and_in_pages,
    lists::keys_come_by_id,
    lists::a_list_comes_in_pages,
    lists::a_filter_takes_states_kind_and_ring_together,
    lists::a_list_comes_in_the_order_that_is_asked,
    lists::a_search_finds_names_and_aliases,
    lists::dates_pick_keys_out,
    lists::an_update_moves_a_key_from_one_filter_to_another,
    lists::the_default_filter_leaves_out_deleted_keys,
    lists::an_expired_key_counts_as_deactivated,
    lists::a_key_that_is_not_active_does_not_expire,
    lists::an_update_moves_the_instant_at_which_a_key_expires,
    due::what_is_due_comes_in_the_order_of_time,
    due::what_is_due_follows_the_keys,
    rings::rings_come_by_id,
    rings::a_ring_is_made_once,
    rings::there_are_so_many_rings_and_no_more,
    rings::keys_need_their_ring,
    rings::a_ring_with_keys_stays,
    rings::a_ring_never_goes_from_under_a_key,
    settings::policies_are_written_whole_and_compared,
    settings::settings_of_a_refused_batch_are_not_written,
    settings::an_import_token_is_compared,
    tenants::instances_are_compared,
    tenants::an_instance_goes_only_without_keys,
    tenants::authorizations_come_and_go,
    registrations::a_registration_is_compared,
    registrations::registrations_are_found_by_all_that_can_be_asked,
    registrations::registrations_move_with_their_key,
    registrations::a_removed_key_takes_its_registrations_with_it,
    events::an_event_is_there_until_it_is_acknowledged,
    events::events_come_oldest_first,
    events::a_removed_key_takes_its_events_with_it,
    concurrency::one_of_many_updates_of_a_revision_wins,
    concurrency::one_of_many_keys_gets_an_alias,
    concurrency::many_commits_all_land,
    concurrency::a_reader_never_sees_half_a_batch,
    concurrency::a_list_never_shows_half_a_batch,
}
