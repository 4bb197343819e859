"""`python -m services.model_server`"""

from libs.serving.deployments.server import serve
from services.model_server.app import make_app
from services.model_server.settings import model_server_settings

if __name__ == "__main__":
    serve("model_server", make_app, model_server_settings)
