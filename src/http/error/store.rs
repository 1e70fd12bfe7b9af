//! How a failed database operation looks to clients.

use super::ApiError;
use crate::store::StoreError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable | StoreError::Stopped => Self::unavailable(),
            StoreError::Driver(_) | StoreError::Conflict | StoreError::Overloaded
                if error.is_transient() =>
            {
                tracing::warn!(%error, "the database is away or busy");
                Self::unavailable()
            }
            StoreError::Driver(_)
            | StoreError::Migration(_)
            | StoreError::Inconsistent { .. }
            | StoreError::Conflict
            | StoreError::Overloaded => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::{ApiError, StoreError};

    #[test]
    fn what_may_work_later_is_unavailable_and_all_else_is_internal() {
        let cases = [
            (StoreError::Overloaded, 503),
            (StoreError::Conflict, 503),
            (StoreError::Stopped, 503),
            (StoreError::inconsistent("users", "name", 1), 500),
        ];
        for (error, status) in cases {
            let text = error.to_string();
            let error = ApiError::from(error);
            assert_eq!(
                (error.status().as_u16(), error.errcode()),
                (status, Some("M_UNKNOWN"))
            );
            let answer = error.into_response();
            assert_eq!(
                answer.headers().contains_key("retry-after"),
                status == 503,
                "{text}"
            );
        }
    }
}
