"""`python -m services.recommender`"""

from libs.serving.deployments.server import serve
from services.recommender.app import make_app
from services.recommender.settings import recommender_settings

if __name__ == "__main__":
    serve("recommender", make_app, recommender_settings)
