// Owns the S3 server of the cases, and buckets in it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	accessKey = "embedded-access-key"
	secretKey = "embedded-secret-key"
	region    = "us-east-1"
)

type server struct {
	endpoint string
	client   *s3.Client
	buckets  int
}

// Starts a server on a free port; the second value ends it.
func startServer(program string, arguments ...string) (*server, func()) {
	command := exec.Command(program, arguments...)
	output := must1(command.StdoutPipe())
	must(command.Start())
	line := must1(bufio.NewReader(output).ReadString('\n'))
	at := strings.Index(line, "http://")
	if at < 0 {
		fail("the server does not say where it is: %q", line)
	}
	endpoint := strings.Fields(line[at:])[0]
	options := s3.Options{
		Region:       region,
		BaseEndpoint: aws.String(endpoint),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	}
	stop := func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	return &server{endpoint: endpoint, client: s3.New(options)}, stop
}

// A new bucket that keeps versions.
func (s *server) bucket() string {
	s.buckets++
	name := fmt.Sprintf("bucket-%d", s.buckets)
	s.makeBucket(name)
	return name
}

func (s *server) makeBucket(name string) {
	ctx := context.Background()
	must1(s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}))
	versioning := &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}
	must1(s.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: versioning}))
}

func (s *server) put(bucket, key string, body []byte) {
	must1(s.client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}))
}

// Puts this many objects, from `k0000` on.
func (s *server) fill(bucket string, count int, body []byte) {
	keys := make(chan string)
	var writers sync.WaitGroup
	for range 32 {
		writers.Go(func() {
			for key := range keys {
				s.put(bucket, key, body)
			}
		})
	}
	for n := range count {
		keys <- fmt.Sprintf("k%04d", n)
	}
	close(keys)
	writers.Wait()
}

func (s *server) remove(bucket, key string) {
	must1(s.client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}))
}

// The bodies of all objects.
func (s *server) objects(bucket string) [][]byte {
	ctx := context.Background()
	listed := must1(s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket}))
	var bodies [][]byte
	for _, object := range listed.Contents {
		got := must1(s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: object.Key}))
		bodies = append(bodies, must1(io.ReadAll(got.Body)))
		got.Body.Close()
	}
	return bodies
}

// Settings of either side.
func (s *server) settings(bucket string, more map[string]string) map[string]string {
	settings := s.settingsFromEnvironment(bucket, more)
	settings["aws.endpoint"] = s.endpoint
	return settings
}

// Settings of either side, also of connectors that know no other stores than the environment's.
func (s *server) settingsFromEnvironment(bucket string, more map[string]string) map[string]string {
	settings := map[string]string{
		"aws.bucket":          bucket,
		"aws.region":          region,
		"aws.accessKeyId":     accessKey,
		"aws.secretAccessKey": secretKey,
	}
	for name, value := range more {
		settings[name] = value
	}
	return settings
}
