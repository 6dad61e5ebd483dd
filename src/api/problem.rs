//! An answer that is no success, as HTTP has it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::records::RecordsError;
use super::supervisor::Refusal;
use super::types::{ErrorBody, ErrorCode};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Problem(pub(super) ErrorBody);

impl Problem {
    pub(super) fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self(ErrorBody { error: error.into(), help: None, report: None, code })
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::NoSuchJob | ErrorCode::NoSuchRun | ErrorCode::NoOutput | ErrorCode::NoSuchPath => {
                StatusCode::NOT_FOUND
            }
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::Refused => StatusCode::CONFLICT,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Store => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

impl From<RecordsError> for Problem {
    fn from(error: RecordsError) -> Self {
        Self::new(ErrorCode::Store, format!("{error}: {}", error.0))
            .help("look at the disk of the state directory; 'jobctl status' names it")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::NoSuchJob(_) => ErrorCode::NoSuchJob,
            Refusal::NoSuchRun(_) => ErrorCode::NoSuchRun,
            Refusal::NotNow(_) | Refusal::Rejected { .. } => ErrorCode::Refused,
            Refusal::Unavailable(_) => ErrorCode::Unavailable,
        };
        let mut problem = Self::new(code, refusal.to_string());
        if let Refusal::Rejected { report } = refusal {
            problem.0.report = Some(report);
        }
        problem
    }
}
