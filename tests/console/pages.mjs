// Every page of the console. `as`: whose token is used (admin unless named); `ready`: what must be on it; `status`: what it is answered with;
// `readme`: the theme in which its upper part is pictured for the README.
export const pages = (data) => [
  { name: "sign-in", path: "/sign-in", as: null, ready: "text=Access token" },
  { name: "overview", path: `/?${data.span}`, ready: ".chart svg.wide", readme: "light" },
  { name: "overview-empty", path: "/?from=-1h", ready: "text=No error has arrived in this time" },
  { name: "lookup", path: "/lookup", as: "support", ready: "text=Look a request up" },
  { name: "request", path: `/requests/${data.request}`, as: "support", ready: "text=The site sent does not belong to this account", readme: "light" },
  { name: "request-429", path: `/requests/${data.limited}`, as: "support", ready: "text=Rate limit" },
  { name: "request-500", path: `/requests/${data.failed}`, as: "support", ready: "text=Exception", readme: "dark" },
  { name: "ticket", path: `/lookup?id=${data.ids.join("+")}`, as: "support", ready: "text=requests found", readme: "dark" },
  { name: "issues", path: `/issues?${data.span}`, ready: "main h1" },
  { name: "rate-limits", path: `/rate-limits?${data.span}`, as: "sre", ready: "main h1" },
  { name: "alerts", path: "/alerts", as: "sre", ready: "main h1" },
  { name: "validation", path: `/validation?${data.span}`, ready: "main h1" },
  { name: "validation-product", path: `/validation?${data.span}`, as: "product", ready: "main h1" },
  { name: "reference", path: `/reference?${data.span}`, as: "product", ready: "main h1" },
  { name: "settings", path: "/settings", ready: "main h1" },
  { name: "audit", path: "/settings/audit", ready: "main h1" },
  { name: "not-found", path: "/requests/req_00000000", as: "support", status: 404, ready: "text=Nothing was ever received" },
  { name: "error", path: "/nothing/here", status: 404, ready: "text=There is nothing here" },
];
