//! What goes wrong in the demonstration: the errors of the API's published reference, by route.

/// Something clients or servers do wrong.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    /// How often, relative to the others.
    pub weight: u64,
    pub status: u16,
    pub service: &'static str,
    pub method: &'static str,
    /// Route template; `{id}` is filled in the path.
    pub route: &'static str,
    pub error: &'static str,
    pub errors: &'static [(&'static str, &'static str)],
}

const API: &str = "igny8-api";
const MEDIA: &str = "igny8-media";

const REQUIRED: &str = "This field is required";

const KEYWORDS: &str = "/api/v1/planner/keywords/";
const KEYWORD: &str = "/api/v1/planner/keywords/{id}/";
pub const AUTO_CLUSTER: &str = "/api/v1/planner/clusters/auto_cluster/";
pub const GENERATE: &str = "/api/v1/writer/tasks/{id}/generate_content/";
const TASKS: &str = "/api/v1/writer/tasks/";
const IMAGES: &str = "/api/v1/writer/images/";
const REGISTER: &str = "/api/v1/auth/register/";
const LOGIN: &str = "/api/v1/auth/login/";
const INTEGRATIONS: &str = "/api/v1/system/integrations/";
const PAYMENTS: &str = "/api/v1/billing/payments/";
const CREDITS: &str = "/api/v1/billing/credits/";

const fn post(
    weight: u64,
    status: u16,
    route: &'static str,
    error: &'static str,
    errors: &'static [(&'static str, &'static str)],
) -> Mistake {
    Mistake { weight, status, service: API, method: "POST", route, error, errors }
}

const fn get(weight: u64, status: u16, route: &'static str, error: &'static str) -> Mistake {
    Mistake { weight, status, service: API, method: "GET", route, error, errors: &[] }
}

const INVALID: &str = "Validation failed";

/// All of them; rate limits and incidents come on top (see [`super::world`]).
pub const MISTAKES: &[Mistake] = &[
    post(90, 400, KEYWORDS, INVALID, &[("seed_keyword_id", REQUIRED)]),
    post(12, 400, KEYWORDS, INVALID, &[("seed_keyword_id", REQUIRED), ("sector_id", REQUIRED)]),
    post(10, 400, KEYWORDS, INVALID, &[("seed_keyword_id", "Invalid seed keyword")]),
    post(9, 400, KEYWORDS, INVALID, &[("site_id", REQUIRED)]),
    post(6, 400, KEYWORDS, INVALID, &[("status", "Invalid status value")]),
    post(8, 400, KEYWORDS, INVALID, &[("items[3].volume", "A valid integer is required.")]),
    post(40, 422, KEYWORDS, INVALID, &[("site_id", "Site must belong to your account")]),
    post(14, 422, KEYWORDS, INVALID, &[("sector_id", "Sector must belong to the selected site")]),
    post(24, 400, TASKS, INVALID, &[("title", REQUIRED)]),
    post(7, 400, TASKS, INVALID, &[("title", REQUIRED), ("site_id", REQUIRED), ("sector_id", REQUIRED)]),
    Mistake { service: MEDIA, ..post(16, 400, IMAGES, INVALID, &[("image_type", "Invalid image type")]) },
    post(8, 400, REGISTER, INVALID, &[("email", "Invalid email format")]),
    post(8, 400, REGISTER, INVALID, &[("password", "Password must be at least 8 characters")]),
    post(5, 400, REGISTER, INVALID, &[("email", REQUIRED), ("password", "Password must be at least 8 characters")]),
    post(20, 409, REGISTER, "Conflict", &[("email", "User with this email already exists")]),
    post(14, 400, LOGIN, INVALID, &[("password", "Invalid credentials")]),
    post(3, 400, LOGIN, INVALID, &[("email", REQUIRED), ("password", REQUIRED)]),
    post(6, 400, INTEGRATIONS, INVALID, &[("api_key", "Invalid API key format")]),
    post(3, 400, INTEGRATIONS, INVALID, &[("api_key", REQUIRED)]),
    post(3, 400, INTEGRATIONS, INVALID, &[("integration_type", "Invalid integration type")]),
    post(7, 400, PAYMENTS, INVALID, &[("amount", "Amount must be positive")]),
    post(3, 400, PAYMENTS, INVALID, &[("amount", REQUIRED)]),
    post(9, 422, CREDITS, INVALID, &[("credits", "Insufficient credits")]),
    get(26, 401, KEYWORDS, "Authentication required"),
    get(30, 401, TASKS, "Invalid or expired token"),
    get(12, 403, CREDITS, "Permission denied"),
    get(34, 404, KEYWORD, "Resource not found"),
    get(10, 404, "/api/v1/writer/tasks/{id}/", "Resource not found"),
    get(6, 500, "/api/v1/billing/usage/summary/", "Internal server error"),
];
