"""An app with a bit of everything, for the tests that ask it the same over real sockets."""

from __future__ import annotations

from kui.asgi import HTTPException, HttpView, Jinja2Templates, Kui, TemplateResponse, request

app = Kui(
    templates=Jinja2Templates("tests.servers:templates"),
    allowed_hosts=["127.0.0.1", "localhost", "testserver"],
)


@app.router.http.get("/")
async def index():
    return "hello"


@app.router.http.get("/thread")
def in_a_thread():
    return {"path": request.url.path}


@app.router.http.get("/items/{id:int}", name="item")
async def item():
    return {"id": request.path_params["id"], "url": request.url_for("item", {"id": 7})}


@app.router.http.get("/files/{path:any}")
async def files():
    return {"path": request.path_params["path"], "url": str(request.url)}


@app.router.http("/json")
class JSON(HttpView):
    async def get(self):
        return {"method": request.method}

    async def post(self):
        data = await request.json
        return {"size": len(await request.body), "keys": len(data)}


@app.router.http.post("/form")
async def form():
    return [list(pair) for pair in (await request.form).multi_items()]


@app.router.http.post("/body")
async def body():
    return {"size": len(await request.body)}


@app.router.http.post("/stream")
async def stream():
    return {"size": sum([len(chunk) async for chunk in request.stream()])}


@app.router.http.post("/unread")
async def unread():
    return "I did not look."


@app.router.http.get("/query")
async def query():
    return {"fields": len(request.query_params.multi_items())}


@app.router.http.get("/cookies")
async def cookies():
    return request.cookies


@app.router.http.get("/cookie")
async def set_a_cookie():
    from kui.asgi import PlainTextResponse

    response = PlainTextResponse("set")
    response.set_cookie("a", "1; ä\r\n")
    response.set_cookie("b", "2")
    return response


@app.router.http.get("/page")
async def page():
    return TemplateResponse("page.html", {"name": "<Kui>"})


@app.router.http.get("/empty")
async def empty():
    return "", 204


@app.router.http.get("/teapot")
async def teapot():
    raise HTTPException(418, {"x-pot": "tea"}, {"error": "teapot"})


@app.router.http.get("/broken")
async def broken():
    raise ValueError("a secret")
