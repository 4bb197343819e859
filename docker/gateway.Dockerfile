# The gateway, the relay and the migration: one image, no torch, no numpy.
#   docker build -f docker/gateway.Dockerfile -t octavo-gateway .
ARG BASE_IMAGE=python:3.11.13-slim-bookworm

# The folder docker/wheels, or the build context of this name: docker build --build-context wheels=FOLDER
FROM scratch AS wheels
COPY docker/wheels/ /

FROM ${BASE_IMAGE} AS build
# 1: take everything from the wheels.
ARG PIP_NO_INDEX=""
ARG PIP_INDEX_URL=""
# Further files of requirements/, such as "s3".
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS=/wheels
# For strip; where Debian's mirror cannot be reached the image keeps its symbols.
RUN (apt-get -qq update && apt-get -qq install --yes --no-install-recommends binutils > /dev/null) || true
RUN python -m venv /opt/octavo
WORKDIR /src
COPY requirements/ requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    for name in gateway ${EXTRAS}; do \
      /opt/octavo/bin/pip install --quiet --no-deps --require-hashes -r requirements/$name.txt || exit 1; \
    done
COPY pyproject.toml README.md ./
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    /opt/octavo/bin/pip install --quiet --no-deps . && /opt/octavo/bin/pip uninstall --quiet --yes pip setuptools
COPY docker/slim.sh /usr/local/bin/slim.sh
RUN slim.sh /opt/octavo && cd / && /opt/octavo/bin/python -B -c "import services.gateway.app, services.gateway.prepare, services.worker.relay, kombu.transport.redis"

FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 octavo \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/octavo --shell /usr/sbin/nologin octavo \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/octavo /artifacts
COPY docker/healthcheck.py /usr/local/lib/healthcheck.py
COPY --from=build /opt/octavo /opt/octavo
ENV PATH=/opt/octavo/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OCTAVO_HOME=/var/lib/octavo OCTAVO_ARTIFACTS_URL=file:///artifacts OCTAVO_ALIVE_FILE=/tmp/alive \
    OCTAVO_GATEWAY_HOST=0.0.0.0 OCTAVO_GATEWAY_PORT=8000
USER 10001:10001
WORKDIR /var/lib/octavo
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-I", "-S", "/usr/local/lib/healthcheck.py", "http", "8000", "/livez"]
CMD ["python", "-m", "services.gateway"]
