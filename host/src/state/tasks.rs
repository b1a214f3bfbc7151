//! Owns how async code uses a store: away from the tasks that serve requests. Leaves what an error means to its callers
//! and [`Error::kind`].

use std::sync::Arc;

use super::{Edit, Error, StateStore};

/// A store for async code. Each call runs to its end, though its future be dropped.
#[derive(Clone)]
pub(crate) struct AsyncState(Arc<dyn StateStore>);

impl From<Arc<dyn StateStore>> for AsyncState {
    fn from(store: Arc<dyn StateStore>) -> Self {
        Self(store)
    }
}

impl AsyncState {
    /// As [`StateStore::load`].
    pub(crate) async fn load(&self, name: String) -> Result<Option<Vec<u8>>, Error> {
        self.run(move |store| store.load(&name)).await
    }

    /// As [`StateStore::commit`].
    pub(crate) async fn commit(&self, edits: Vec<Edit>) -> Result<(), Error> {
        self.run(move |store| store.commit(&edits)).await
    }

    /// As [`StateStore::load_position`].
    pub(crate) async fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        self.run(|store| store.load_position()).await
    }

    /// As [`StateStore::save_position`].
    pub(crate) async fn save_position(&self, position: impl AsRef<[u8]> + Send + 'static) -> Result<(), Error> {
        self.run(move |store| store.save_position(position.as_ref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn StateStore) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || job(store.as_ref())).await;
        done.unwrap_or_else(|panicked| Err(Error::Broken(panicked.to_string())))
    }
}
