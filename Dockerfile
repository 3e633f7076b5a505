# Two images from one file; the service is the default.
#   docker build --target service -t glassnet-service .
#   docker build --target trainer -t glassnet-trainer .
# For a store in a bucket, either with: --build-arg LOCK=cloud
ARG PYTHON_IMAGE=python:3.13-slim

# What every image needs, by hash, in a venv that never has pip.
FROM ${PYTHON_IMAGE} AS deps
ARG LOCK=service
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY deploy/locks/ locks/
# Test suites, stub files and C sources are for developers, not for a server.
# Bytecode that is not checked against its source starts faster, and these
# sources never change.
RUN python -m venv --without-pip /opt/glassnet \
 && pip --python /opt/glassnet/bin/python install --no-compile \
        --require-hashes --only-binary :all: --no-deps -r locks/${LOCK}.txt \
 && find /opt/glassnet -depth \( -name tests -o -name include -o -name f2py \
        -o -name '*.pyi' -o -name '*.a' -o -name '*.h' -o -name '*.cpp' \) -exec rm -rf {} + \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/glassnet/lib


# The build backend, by its hash in the development lock, and our wheel.
FROM deps AS wheel
RUN sed -n '/^setuptools==/,/# via/p' locks/dev.txt > backend.txt \
 && pip install --target /opt/backend \
        --require-hashes --only-binary :all: --no-deps -r backend.txt
COPY pyproject.toml README.md LICENSE ./
COPY models/ models/
COPY trainer/ trainer/
COPY service/ service/
RUN PYTHONPATH=/opt/backend pip wheel --no-deps --no-build-isolation -w /wheel .


FROM deps AS trainer-build
RUN pip --python /opt/glassnet/bin/python install --no-compile \
        --require-hashes --only-binary :all: --no-deps -r locks/trainer.txt \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/glassnet/lib
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/glassnet/bin/python install --no-compile --no-deps /wheel/*.whl \
 && rm -r /opt/glassnet/bin/service /opt/glassnet/lib/python*/site-packages/service \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/glassnet/lib


FROM deps AS service-build
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/glassnet/bin/python install --no-compile --no-deps /wheel/*.whl \
 && rm -r /opt/glassnet/bin/trainer /opt/glassnet/lib/python*/site-packages/trainer \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/glassnet/lib


# What both run on: no installer, a user without rights, directories that user owns.
FROM ${PYTHON_IMAGE} AS base
RUN python -c 'import ensurepip, glob, pip, shutil; \
        [*map(shutil.rmtree, glob.glob(pip.__path__[0] + "*") + ensurepip.__path__)]' \
 && rm -f /usr/bin/pip* /usr/local/bin/pip* \
 && groupadd --gid 10001 glassnet \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin --no-log-init glassnet \
 && install -d -o 10001 -g 10001 /store /tokens /training
ENV PATH=/opt/glassnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GLASSNET_STORE=/store
ARG REVISION=unknown
LABEL org.opencontainers.image.title=glassnet \
    org.opencontainers.image.description="A small neural network in pure NumPy" \
    org.opencontainers.image.licenses=MIT \
    org.opencontainers.image.version=0.1.0 \
    org.opencontainers.image.revision=${REVISION}


FROM base AS trainer
COPY --from=trainer-build /opt/glassnet /opt/glassnet
USER 10001:10001
ENTRYPOINT ["trainer"]


FROM base AS service
COPY --from=service-build /opt/glassnet /opt/glassnet
# The official Python image ships no bytecode of the standard library, and a
# read-only root cannot keep any: compile what the service imports, once, here.
RUN PYTHONDONTWRITEBYTECODE='' python -c 'import flask, msgspec, numpy, service.cli, \
        gunicorn.app.wsgiapp, prometheus_client.multiprocess, service.app, \
        service.server.json_logging, service.server.worker'
# NumPy is called from several request threads already; BLAS threads on top only
# make them wait for each other.
ENV OPENBLAS_NUM_THREADS=1
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["service", "probe"]
# SageMaker says `serve` in place of the command.
ENTRYPOINT ["service"]
CMD ["run", "--bind", "0.0.0.0:8080"]
