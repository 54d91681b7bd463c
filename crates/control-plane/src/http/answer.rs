//! From a request to the function that answers it: by path, then by method.

use bytes::Bytes;
use http::header::{ETAG, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use objects::status::Status;
use serde_json::{Value, json};

use super::body::{self, ResponseBody};
use super::negotiate::{self, Discovery, Form};
use super::patch::Patch;
use super::query::Query;
use super::read::Matcher;
use super::respond::{self, Style};
use super::route::{self, Route, Target};
use super::{
    Error, Handler, User, delete, discovery, health, openapi, pod_stream, read, request, subresource, watch,
    write,
};

/// Every answer about Endpoints says so since Kubernetes 1.33.
const ENDPOINTS_DEPRECATED: &str =
    "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

impl Handler {
    pub(super) async fn answer<B>(
        &self,
        user: Option<&User>,
        parts: Parts,
        body: B,
    ) -> Result<Response<ResponseBody>, Status>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Error>,
    {
        if let Some(response) = health::answer(parts.uri.path(), parts.uri.query().unwrap_or_default()) {
            return Ok(response);
        }
        user.ok_or_else(Status::unauthorized)?;
        match route::parse(parts.uri.path()).ok_or_else(Status::unknown_path)? {
            Route::Objects(target) => {
                let response = match request::read(body).await {
                    Ok(body) => self.objects(&target, parts, body).await,
                    Err(status) => Err(status),
                };
                let mut response = response.unwrap_or_else(|status| body::status(&status));
                if target.resource.kind == "Endpoints" {
                    respond::warn(&mut response, ENDPOINTS_DEPRECATED);
                }
                Ok(response)
            }
            Route::NotYet(what) => Err(Status::not_implemented(&what)),
            document if parts.method == Method::GET => documents(&document, &parts.headers),
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn objects(
        &self,
        target: &Target,
        mut parts: Parts,
        body: Bytes,
    ) -> Result<Response<ResponseBody>, Status> {
        let query = Query::parse(options_of(&parts.method), parts.uri.query().unwrap_or_default())?;
        let nodes = self.nodes.as_ref();
        match target.subresource.map(|sub| sub.name) {
            Some("log") if parts.method == Method::GET => {
                return pod_stream::log(
                    &self.api,
                    nodes,
                    target,
                    &query,
                    parts.uri.query().unwrap_or_default(),
                )
                .await;
            }
            Some("exec") if matches!(parts.method, Method::GET | Method::POST) => {
                return pod_stream::exec(&self.api, nodes, target, &query, &mut parts).await;
            }
            Some("log" | "exec") => return Err(Status::method_not_allowed()),
            _ => {}
        }
        let style = Style {
            resource: target.resource,
            form: negotiate::form(&parts.headers)?,
            include: query.include_object,
        };
        let call = Call { handler: self, target, query, style, headers: &parts.headers, body };
        match target.subresource.map(|sub| sub.name) {
            Some("scale") => call.scale(&parts.method).await,
            Some("binding") => call.binding(&parts.method).await,
            Some(_) => call.part(&parts.method).await,
            None if target.name.is_some() => call.object(&parts.method).await,
            None => call.collection(&parts.method).await,
        }
    }
}

/// One request about objects.
struct Call<'a> {
    handler: &'a Handler,
    target: &'a Target,
    query: Query,
    style: Style,
    headers: &'a HeaderMap,
    body: Bytes,
}

impl Call<'_> {
    fn json(&self) -> Result<Bytes, Status> {
        request::to_json(self.headers, &self.body)
    }

    fn watch(&self) -> Result<Response<ResponseBody>, Status> {
        watch::watch(&self.handler.api, self.handler.stopping.clone(), self.target, &self.query, self.style)
    }

    async fn collection(self, method: &Method) -> Result<Response<ResponseBody>, Status> {
        let api = &self.handler.api;
        match *method {
            Method::GET if self.query.watch || self.target.watch => self.watch(),
            Method::GET => {
                let matcher = Matcher::new(self.target, &self.query)?;
                Ok(respond::list(self.style, &read::list(api, self.target, &self.query, &matcher)?))
            }
            // What lives in namespaces is created and deleted in one.
            Method::POST | Method::DELETE
                if self.target.resource.namespaced && self.target.namespace.is_none() =>
            {
                Err(Status::method_not_allowed())
            }
            Method::POST => {
                let outcome = write::create(api, self.target, &self.query, self.json()?).await?;
                Ok(respond::written(self.style, StatusCode::CREATED, outcome))
            }
            Method::DELETE => {
                let options = delete::Options::read(&self.options()?, &self.query)?;
                let matcher = Matcher::new(self.target, &self.query)?;
                let items = delete::collection(api, self.target, matcher, options).await?;
                let metadata = json!({"resourceVersion": api.store.revision().to_string()});
                Ok(body::json(StatusCode::OK, &respond::list_of(self.target.resource, &metadata, items)))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// The body of a DELETE, which may be missing.
    fn options(&self) -> Result<Bytes, Status> {
        if self.body.is_empty() { Ok(Bytes::new()) } else { self.json() }
    }

    async fn object(self, method: &Method) -> Result<Response<ResponseBody>, Status> {
        let api = &self.handler.api;
        match *method {
            Method::GET if self.target.watch => self.watch(),
            Method::DELETE => {
                let options = delete::Options::read(&self.options()?, &self.query)?;
                Ok(body::json(StatusCode::OK, &delete::one(api, self.target, options).await?))
            }
            _ => self.part(method).await,
        }
    }

    /// Reading and changing an object, or its status.
    async fn part(self, method: &Method) -> Result<Response<ResponseBody>, Status> {
        let api = &self.handler.api;
        if let Some(sub) = self.target.subresource
            && !sub.verbs.contains(&verb_of(method))
        {
            return Err(Status::method_not_allowed());
        }
        match *method {
            Method::GET => Ok(respond::stored(self.style, read::get(api, self.target)?.as_ref())),
            Method::PUT => {
                let (outcome, created) = write::update(api, self.target, &self.query, self.json()?).await?;
                let code = if created { StatusCode::CREATED } else { StatusCode::OK };
                Ok(respond::written(self.style, code, outcome))
            }
            Method::PATCH => {
                let patch = Patch::read(self.headers, &self.body)?;
                let (resource, validation) = (self.target.resource, self.query.field_validation);
                let make = move |old: &Value| patch.apply_to(resource, old, validation);
                let outcome = write::change(api, self.target, self.query.dry_run, make).await?;
                Ok(respond::written(self.style, StatusCode::OK, outcome))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn scale(self, method: &Method) -> Result<Response<ResponseBody>, Status> {
        let api = &self.handler.api;
        let outcome = match *method {
            Method::GET => return Ok(body::json(StatusCode::OK, &subresource::get_scale(api, self.target)?)),
            Method::PUT => subresource::update_scale(api, self.target, &self.query, self.json()?).await?,
            Method::PATCH => {
                let patch = Patch::read(self.headers, &self.body)?;
                subresource::patch_scale(api, self.target, &self.query, patch).await?
            }
            _ => return Err(Status::method_not_allowed()),
        };
        let style = Style { form: Form::Object, ..self.style };
        Ok(respond::written(style, StatusCode::OK, outcome))
    }

    async fn binding(self, method: &Method) -> Result<Response<ResponseBody>, Status> {
        if *method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let bound = subresource::bind(&self.handler.api, self.target, &self.query, self.json()?).await?;
        Ok(body::json(StatusCode::CREATED, &bound))
    }
}

/// The kind of the options that a request's parameters are.
fn options_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        Method::DELETE => "DeleteOptions",
        _ => "ListOptions",
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Discovery and OpenAPI.
fn documents(route: &Route, headers: &HeaderMap) -> Result<Response<ResponseBody>, Status> {
    match route {
        Route::CoreVersions | Route::Groups => {
            let core = *route == Route::CoreVersions;
            let plain = if core { discovery::core_versions() } else { discovery::groups() };
            Ok(match negotiate::discovery(headers)? {
                Discovery::Plain => document(headers, &plain, body::JSON),
                Discovery::V2 => document(headers, &discovery::aggregated(core, "v2"), V2),
                Discovery::V2Beta1 => document(headers, &discovery::aggregated(core, "v2beta1"), V2BETA1),
            })
        }
        Route::OpenApiV2 => Ok(body::whole(StatusCode::OK, openapi::V2_MEDIA_TYPE, openapi::V2)),
        Route::Root => Ok(document(headers, &discovery::root(), body::JSON)),
        Route::Group(group) => Ok(document(headers, &discovery::group(group), body::JSON)),
        Route::GroupVersion(group, version) => {
            Ok(document(headers, &discovery::resources(group, version), body::JSON))
        }
        Route::OpenApiIndex => Ok(document(headers, &openapi::index(), body::JSON)),
        Route::OpenApiDocument(group, version) => {
            Ok(document(headers, &openapi::document(group, version), body::JSON))
        }
        Route::Objects(_) | Route::NotYet(_) => Err(Status::unknown_path()),
    }
}

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// A document that clients keep: they ask whether it is still the same.
fn document(headers: &HeaderMap, value: &Value, media_type: &'static str) -> Response<ResponseBody> {
    let text = value.to_string();
    let tag = format!("\"{}\"", openapi::hash(&text));
    let known =
        headers.get(http::header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        body::whole(StatusCode::NOT_MODIFIED, media_type, Bytes::new())
    } else {
        body::whole(StatusCode::OK, media_type, text)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}
