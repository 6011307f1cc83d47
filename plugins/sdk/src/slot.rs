//! Where a sandbox keeps its plugin between `configure` and the one call after it.

use std::sync::OnceLock;

use crate::settings::SettingsError;

/// Empty until `configure`; then it holds what that returned, for as long as the sandbox lives.
pub struct Slot<T>(OnceLock<T>);

impl<T> Slot<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// What `configure` left here.
    ///
    /// # Errors
    /// A text that says what the host forgot.
    pub(crate) fn get(&self) -> Result<&T, &'static str> {
        self.0.get().ok_or("this sandbox was not configured: the host must call `configure` first")
    }

    /// Keeps the outcome of a `configure`.
    pub(crate) fn fill(&self, plugin: Result<T, SettingsError>) -> Result<(), SettingsError> {
        self.0.set(plugin?).map_err(|_| {
            SettingsError::whole("this sandbox is configured already: the host must call `configure` only once")
        })
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_filled_once() {
        let slot = Slot::new();
        assert!(slot.get().is_err_and(|text| text.contains("configure")));
        assert_eq!(slot.fill(Err(SettingsError::new("a.b", "no"))), Err(SettingsError::new("a.b", "no")));
        assert!(slot.get().is_err(), "a failed configure leaves the slot empty");
        slot.fill(Ok(7)).unwrap();
        assert_eq!(slot.get(), Ok(&7));
        assert!(slot.fill(Ok(8)).is_err());
        assert_eq!(slot.get(), Ok(&7));
    }
}
